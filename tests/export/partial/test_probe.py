"""Models that no catalogue can be ranked with: a score that depends on the batch, or on chance, is refused."""

import numpy as np
import pytest

from recoserve.errors import ExportRefused
from recoserve_export.partial.probe import refuse_coupled, refuse_random
from tests.export.partial.graphs import DOT, ITEMS, USERS, assert_same_scores, evaluated, pair_scorer, scorer


@pytest.mark.parametrize(
    "body",
    [
        DOT + "score = Softmax <axis = 0> (d)",
        DOT + "m = ReduceMean (d, zero)\n score = Sub (d, m)",
        DOT + "score = CumSum (d, none)",
        DOT + "e = EyeLike (u)\n t = ReduceSum (e, last)\n score = Add (d, t)",
        "t = Transpose (i)\n m = MatMul (u, t)\n score = ReduceMax <keepdims = 0> (m, one)",
    ],
    ids=["softmax", "mean", "running sum", "eye", "in-batch negatives"],
)
def test_a_score_that_depends_on_the_other_pairs_of_its_batch_is_refused(body):
    network = scorer(body, none=np.array(0))
    with pytest.raises(ExportRefused, match="depends on the pairs scored beside it"):
        refuse_coupled(network, pair_scorer(network).feeds, USERS, ITEMS)


def test_a_softmax_within_a_pair_is_not_refused():
    network = scorer(
        "c = Concat <axis = 1> (u, i)\n s = Softmax <axis = -1> (c)\n h = MatMul (s, wide)\n score = MatMul (h, three)"
    )
    refuse_coupled(network, pair_scorer(network).feeds, USERS, ITEMS)

    assert_same_scores(network, evaluated(network))


def test_random_numbers_are_refused():
    network = scorer(DOT + "r = RandomNormalLike (d)\n score = Add (d, r)")
    with pytest.raises(ExportRefused, match="RandomNormalLike makes 'r'"):
        refuse_random(network)
    with pytest.raises(ExportRefused, match="changes from one run to the next"):
        refuse_coupled(network, pair_scorer(network).feeds, USERS, ITEMS)
