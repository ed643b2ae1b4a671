"""model.onnx and score.onnx of a dot product, as any program with ONNX Runtime runs them."""

import numpy as np
import onnxruntime
import pytest

from recoserve_export import export_model
from tests.export.models import random_tables

LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]
USERS, ITEMS = 30, 50
OUTSIDE = [-1, -2, -(2**63), 2**31, 2**62]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of raw dot products in which items 10 to 19 are the same vector."""
    users, items = random_tables(USERS, ITEMS)
    items[10:20] = items[10]
    target = tmp_path_factory.mktemp("graphs") / "bundle"
    export_model((users, items), target, similarity="dot")
    return target


@pytest.fixture(params=LEVELS)
def open_graph(request, folder):
    """Open a graph of the bundle at one of the runtime's optimisation levels."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, request.param)
    options.log_severity_level = 4

    def run(name, **feeds):
        arrays = {key: np.array(value, np.int64) for key, value in feeds.items()}
        return onnxruntime.InferenceSession(folder / name, options).run(None, arrays)

    return run


@pytest.mark.parametrize("row", [*OUTSIDE, USERS])
def test_a_user_outside_the_table_is_an_error_at_every_optimisation_level(row, open_graph):
    """Alone or among rows inside, in either graph."""
    for rows in ([row], [0, row], [row, 3], [row, row]):
        with pytest.raises(Exception, match="Reshape"):
            open_graph("model.onnx", user_id=rows, k=[3])
        with pytest.raises(Exception, match="Reshape"):
            open_graph("score.onnx", user_id=rows, item_id=[0])


@pytest.mark.parametrize("row", [*OUTSIDE, ITEMS])
def test_an_item_outside_the_table_is_an_error_at_every_optimisation_level(row, open_graph):
    """The graph that scores guards the rows of its candidates as well."""
    with pytest.raises(Exception, match="Reshape"):
        open_graph("score.onnx", user_id=[0], item_id=[0, row])


def test_k_beyond_the_catalogue_gives_the_whole_catalogue(open_graph):
    """Each item once, best first."""
    rows, scores = open_graph("model.onnx", user_id=[0, 29], k=[10**12])

    assert [list(range(ITEMS))] * 2 == np.sort(rows, axis=1).tolist()
    assert (np.diff(scores, axis=1) <= 0).all()


def test_equal_scores_go_to_the_lowest_row(open_graph):
    """The ten equal items stand together, in row order, for every user."""
    rows, _ = open_graph("model.onnx", user_id=range(USERS), k=[ITEMS])

    for order in rows.tolist():
        first = order.index(10)
        assert list(range(10, 20)) == order[first : first + 10]


def test_both_graphs_give_a_pair_the_same_score(open_graph):
    """The graph that ranks and the graph that scores agree on every item."""
    rows, scores = open_graph("model.onnx", user_id=[4], k=[ITEMS])

    pair_scores = open_graph("score.onnx", user_id=[4], item_id=rows[0])[0]

    assert np.allclose(scores, pair_scores, rtol=1e-6, atol=1e-6)


def test_a_users_ranking_does_not_depend_on_the_batch(open_graph):
    """Nor on the same row standing in it twice; an empty batch has empty rankings."""
    rows, _ = open_graph("model.onnx", user_id=[3, 7, 3], k=[5])

    assert [open_graph("model.onnx", user_id=[row], k=[5])[0][0].tolist() for row in (3, 7, 3)] == rows.tolist()
    assert open_graph("model.onnx", user_id=[], k=[5])[0].shape == (0, 5)


def test_a_k_below_zero_is_an_error(open_graph):
    """Zero gives an empty ranking, less than zero is refused."""
    assert open_graph("model.onnx", user_id=[0], k=[0])[0].shape == (1, 0)
    with pytest.raises(Exception, match="TopK"):
        open_graph("model.onnx", user_id=[0], k=[-1])
