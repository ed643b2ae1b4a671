"""What `export_model` writes, and when it writes nothing."""

import numpy as np
import pytest

from recoserve.bundle.archive import open_bundle
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from tests.export.models import brute_force, keras_model, parity_tables, random_tables, torch_model


def makers():
    """By name: a function that makes a model of two tables, and the similarity to export."""
    return {
        "tables": (lambda users, items: (users, items), "cosine"),
        "keras": (keras_model, "cosine"),
        "torch": (torch_model, "cosine"),
        "keras raw": (keras_model, "dot"),
        "torch raw": (torch_model, "dot"),
    }


@pytest.fixture(params=list(makers()))
def case(request):
    """A function that makes a model of two tables, and the similarity to export."""
    return makers()[request.param]


def test_each_parity_is_recommended_its_own_items(case, tables, target, top_k):
    """Whatever the framework: even users get the even items, odd users the odd ones, ties in row order."""
    make, similarity = case
    export_model(make(*tables), target, similarity=similarity)

    rows, scores = top_k(target, [0, 1], 4)

    expected = [[0, 2, 4, 6], [1, 3, 5, 7]] if similarity == "cosine" else [[8, 6, 4, 2], [7, 5, 3, 1]]
    assert expected == rows.tolist()
    assert np.allclose(scores, 1.0 if similarity == "cosine" else [[18, 14, 10, 6], [16, 12, 8, 4]])


def test_the_graph_equals_a_float64_brute_force(case, vectors, target, top_k):
    """All users, the whole catalogue."""
    make, similarity = case
    export_model(make(*vectors), target, similarity=similarity)

    rows, scores = top_k(target, range(40), 60)

    expected, order = brute_force(*vectors, 60, cosine=similarity == "cosine")
    assert order.tolist() == rows.tolist()
    assert np.allclose(np.take_along_axis(expected, order, 1), scores, atol=1e-5)


def test_an_exported_bundle_opens_and_says_what_it_is(vectors, target):
    """It passes every check of the service; the manifest has counts, source, formula and parity."""
    metrics = {"recall@10": 0.25}

    report = export_model(torch_model(*vectors), target, metrics=metrics)

    manifest = open_bundle(target).manifest
    members = ("name", "version", "similarity", "users", "items", "dim")
    assert tuple(getattr(manifest, name) for name in members) == ("parity", "1", "cosine", 40, 60, 8)
    assert manifest.ids == {"user": "row", "item": "row"}
    assert (manifest.source["framework"], manifest.source["formula"]) == ("torch", "dot")
    assert tuple(manifest.parity[name] for name in ("pairs", "users", "k", "top_k_agreement")) == (2400, 40, 60, 1.0)
    assert manifest.parity["framework_pairs"] == 2400
    assert metrics == manifest.metrics
    assert manifest.created.endswith("Z")
    assert "2400 pairs compared" in str(report)


def test_name_and_version_are_read_off_the_target_or_the_source(vectors, tmp_path):
    """NAME/VERSION where the target looks like that; otherwise the file's stem or the model's class, and version 1."""
    np.save(tmp_path / "people.npy", vectors[0])
    np.save(tmp_path / "things.npy", vectors[1])

    reports = [
        export_model(vectors, tmp_path / "my movies" / "12"),
        export_model(torch_model(*vectors), tmp_path / "out"),
        export_model((tmp_path / "people.npy", tmp_path / "things.npy"), tmp_path / "files"),
        export_model(vectors, tmp_path / "x" / "3", name="films", version="2026-01"),
    ]

    expected = [("my-movies", "12"), ("Pair", "1"), ("people", "1"), ("films", "2026-01")]
    assert expected == [(report.name, report.version) for report in reports]


@pytest.mark.parametrize(
    "options", [{"name": "../x"}, {"version": ""}, {"similarity": "euclid"}, {"metrics": {"loss": float("nan")}}]
)
def test_unusable_options_are_refused_before_anything_is_written(options, vectors, target, assert_nothing_written):
    """A name that is a path, an empty version, an unknown similarity, a metric that JSON has no word for."""
    with pytest.raises(ExportRefused):
        export_model(vectors, target, **options)

    assert_nothing_written()


def test_zero_rows_score_zero_with_everything(vectors, target, top_k):
    """A zero vector has no direction: cosine 0, for a user's row as for an item's, and no NaN."""
    users, items = vectors
    users[3], items[5] = 0, 0

    export_model((users, items), target)

    assert (top_k(target, [3], 60)[1] == 0).all()
    rows, scores = top_k(target, [0], 60)
    assert scores[rows == 5].tolist() == [0.0]


@pytest.mark.parametrize("scale", [1e-5, 1e3])
def test_parity_is_judged_by_the_size_of_the_scores(scale, target, top_k):
    """Raw dot products of very short and of very long vectors pass the gate alike."""
    users, items = random_tables(scale=scale)

    export_model((users, items), target, similarity="dot")

    rows = top_k(target, range(40), 5)[0]
    assert brute_force(users, items, 5)[1].tolist() == rows.tolist()
    open_bundle(target)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_and_infinity_are_refused_with_table_and_row(side, value, vectors, target, assert_nothing_written):
    """The message says where they are."""
    vectors[side][7, 2] = value

    with pytest.raises(ExportRefused, match=rf"{('user', 'item')[side]}_table.*row 7"):
        export_model(vectors, target)

    assert_nothing_written()


def test_tables_of_different_width_are_refused_naming_both(target, assert_nothing_written):
    """64 and 32 dimensions have no dot product; the message names both tables and widths."""
    users, items = random_tables(width=64)[0], random_tables(width=32)[1]

    with pytest.raises(ExportRefused, match=r"user table 'user_table' is 64 wide, item table 'item_table' 32"):
        export_model((users, items), target)

    assert_nothing_written()


def test_an_existing_bundle_is_never_overwritten(vectors, target):
    """The second export to a folder is refused, and the first bundle stays as it is."""
    export_model(vectors, target)

    with pytest.raises(ExportRefused, match="already exists"):
        export_model(vectors, target)

    open_bundle(target)


def test_a_model_that_fails_parity_leaves_nothing(vectors, target, assert_nothing_written):
    """A forward that returns other scores when the golden sample is drawn disagrees with the graphs: refused, with the figures."""
    golden_pairs = (32 * 10, 32 * 60)  # how many are scored at once for the golden sample

    def drifting(module, users, items):
        return (users * items).sum(-1) + (len(users) in golden_pairs)

    with pytest.raises(ExportRefused, match="parity failed") as refusal:
        export_model(torch_model(*vectors, score=drifting), target, similarity="model")

    assert_nothing_written()
    assert "golden sample is off by up to 1;" in str(refusal.value)


def test_metadata_that_cannot_be_written_leaves_nothing(vectors, target, assert_nothing_written):
    """What JSON can't hold is noticed last, after the graphs were written: the half-written bundle is removed."""
    with pytest.raises(ExportRefused, match="row 59"):
        export_model(vectors, target, items=[{"year": 1990}] * 59 + [{"year": float("nan")}])

    assert_nothing_written()


def test_tables_without_a_model_have_no_similarity_model(vectors, target):
    """There is no score of their own to serve."""
    with pytest.raises(ExportRefused, match="no score of their own"):
        export_model(vectors, target, similarity="model")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (42, "can't export a int"),
        ("missing.keras", "no such file"),
        ((np.zeros((2, 2), np.int64), np.zeros((2, 2))), "must be floats"),
        ((np.zeros(4), np.zeros((2, 2))), "two dimensions"),
        ((np.zeros((0, 2)), np.zeros((2, 2))), "empty"),
    ],
)
def test_a_source_that_is_no_model_is_refused_with_the_reason(source, message, target):
    """Numbers, absent files, integer tables, vectors and empty tables."""
    with pytest.raises(ExportRefused, match=message):
        export_model(source, target)


def test_ids_metadata_and_interactions_travel_with_the_model(vectors, target):
    """A bundle opens with external ids of both kinds, metadata by row and interactions."""
    films = [f"film-{row}" for row in range(60)]
    report = export_model(
        vectors,
        target,
        user_ids=range(100, 140),
        item_ids=films,
        items=[{"title": f"Film {row}"} for row in range(60)],
        interactions=([0, 0, 39], [3, 1, 59]),
    )

    bundle = open_bundle(target)

    assert report.ids == {"user": "integer", "item": "string"}
    assert (bundle.users.find(139), bundle.items.find("film-59")) == (39, 59)
    assert bundle.item_metadata[7] == {"title": "Film 7"}
    assert (bundle.interactions.of(0).tolist(), bundle.interactions.of(39).tolist()) == ([1, 3], [59])


def test_one_user_and_one_item_make_a_bundle(target, top_k):
    """The smallest catalogue there can be."""
    export_model(parity_tables(1, 1), target)

    assert top_k(target, [0], 10)[0].tolist() == [[0]]
    open_bundle(target)
