"""Models of KMR's recommendation layers: they load without that package, and serve cosine over their tables."""

import subprocess
import sys

import numpy as np
import pytest

from recoserve_export import export_model
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.sources import keras as front_end
from tests.export.models import brute_force, random_tables

SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".h5"])
USERS, ITEMS, WIDTH = 12, 30, 8


def ids(*shapes):
    """Inputs without names, as KMR's own page has them."""
    import keras

    return [keras.Input(shape, dtype="int32") for shape in shapes]


def looked_up(inputs, **options):
    from recoserve_export.sources import kmr

    layer = kmr.CollaborativeUserItemEmbedding(num_users=USERS, num_items=ITEMS, embedding_dim=WIDTH, **options)
    rows = layer(inputs)
    layer.set_weights(random_tables(USERS, ITEMS, WIDTH))
    return rows


def ranking():
    """One user and 100 candidates -> the positions and scores of the best five."""
    import keras

    from recoserve_export.sources import kmr

    inputs = ids((1,), (100,))
    scores = kmr.NormalizedDotProductSimilarity()(looked_up(inputs))
    return keras.Model(inputs, list(kmr.TopKRecommendationSelector(k=5)(scores)))


def explaining():
    import keras

    from recoserve_export.sources import kmr

    user, candidates = ids((1,), (100,))
    users, items = looked_up([user, candidates])
    return keras.Model([user, candidates], kmr.CosineSimilarityExplainer()([keras.layers.Flatten()(users), items]))


def towers():
    """KMR's layers in a plain scorer of pairs: the tables' rows go through a tower each."""
    import keras

    from recoserve_export.sources import kmr

    user, item = (keras.Input((1,), name=name, dtype="int32") for name in ("user", "item"))
    sides = [kmr.DeepFeatureTower(units=6)(keras.layers.Flatten()(rows)) for rows in looked_up([user, item])]
    return keras.Model([user, item], kmr.NormalizedDotProductSimilarity()(sides))


@SUFFIXES
@pytest.mark.parametrize("build", [ranking, explaining])
def test_a_list_of_candidates_becomes_the_whole_catalogue_by_cosine(build, suffix, tmp_path):
    """From a file, the two tables are read; the model's own scores are not served, and the report says so."""
    model, saved = build(), tmp_path / f"taste{suffix}"
    model.save(saved)

    source = front_end.load(saved)

    users, items = random_tables(USERS, ITEMS, WIDTH)
    assert (np.array_equal(users, source.users.values), np.array_equal(items, source.items.values)) == (True, True)
    assert source.scores is None
    assert "true cosine over the model's two embedding tables" in source.notes[0]


def test_the_report_says_what_kmr_itself_computes():
    """Its formula is no cosine, and it ranks positions rather than items."""
    notes = " ".join(front_end.from_model(ranking()).notes)

    assert "sum(a*b)/sqrt(dim)" in notes
    assert "positions in the list of candidates" in notes


PROGRAM = """
import sys
from pathlib import Path
from recoserve_export.sources import keras
source = keras.load(Path(sys.argv[1]))
print(type(source).__name__, source.user if hasattr(source, "user") else source.users.row_count)
"""


@pytest.mark.parametrize(("build", "line"), [(ranking, f"DotSource {USERS}"), (towers, "GraphSource user")])
def test_a_file_loads_in_a_process_that_has_not_imported_the_stand_ins(build, line, tmp_path):
    """They are imported because the file names KMR's layers."""
    build().save(tmp_path / "taste.keras")

    process = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "taste.keras"], capture_output=True, text=True, check=True)

    assert process.stdout.strip() == line


@SUFFIXES
def test_towers_of_kmr_are_a_scorer_like_any_other(suffix, tmp_path):
    """Their file gives the live model's scores."""
    model, saved = towers(), tmp_path / f"towers{suffix}"
    for seed, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(seed).uniform(0.5, 1.5, weight.shape))
    model.save(saved)

    source = front_end.load(saved)

    values = {"user": np.arange(USERS), "item": np.arange(USERS)}
    assert not isinstance(source, DotSource)
    assert np.ptp(source.scores(values)) > 0
    assert front_end.from_model(model).scores(values).tolist() == source.scores(values).tolist()


def test_what_a_file_says_beyond_the_known_options_is_kept():
    """KMR writes a copy of its tables into the description, which is left out; other options come back."""
    from recoserve_export.sources import kmr

    written = {"name": "rows", "num_users": 3, "num_items": 4, "embedding_dim": 2, "l2_reg": 0.5, "flavour": "new"}
    layer = kmr.CollaborativeUserItemEmbedding.from_config({**written, "user_embedding_weights": [[0.0]]})

    assert written.items() <= layer.get_config().items()
    assert "user_embedding_weights" not in layer.get_config()


def test_the_stand_ins_compute_what_kmr_computes():
    """A dot product over sqrt(dim); a cosine for each candidate; positions and scores of the best."""
    import keras

    from recoserve_export.sources import kmr

    users, items = np.array([[3.0, 4.0]], np.float32), np.array([[[6.0, 8.0], [4.0, -3.0], [0.0, 2.0]]], np.float32)

    assert np.allclose(50 / 2**0.5, kmr.NormalizedDotProductSimilarity()([users, items[:, 0]]))
    cosines = kmr.CosineSimilarityExplainer()([users, items])
    assert np.allclose([[1, 0, 0.8]], cosines)
    positions, best = kmr.TopKRecommendationSelector(k=2)(cosines)
    assert (np.asarray(positions).tolist(), keras.ops.shape(best)) == ([[0, 2]], (1, 2))


def test_the_bundle_ranks_the_catalogue_by_cosine(tmp_path, target, top_k):
    """Exported from its file, KMR's model ranks item rows."""
    ranking().save(tmp_path / "taste.keras")

    export_model(tmp_path / "taste.keras", target)

    _, order = brute_force(*random_tables(USERS, ITEMS, WIDTH), 5, cosine=True)
    assert order.tolist() == top_k(target, range(USERS), 5)[0].tolist()
