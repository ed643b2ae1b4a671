"""Scorers that the exporter wasn't written for: each scores as its framework does, or is refused with a reason.

A dozen of them, one for each way to build a model, run always; RECOSERVE_TEST_ALL=1 runs every one, with catalogues of every size.
"""

import os
import re

import numpy as np
import pytest

from recoserve.errors import ExportRefused
from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from recoserve_export import export_model
from tests.export.unseen import deep, factorising, geometry, keras_scorers, odd, sly
from tests.export.unseen.case import all_pairs, features, trained

SCORERS = {**factorising.CASES, **geometry.CASES, **deep.CASES, **keras_scorers.CASES, **sly.CASES}
ODD = {**odd.CASES, **keras_scorers.ODD}
ALL = bool(os.environ.get("RECOSERVE_TEST_ALL"))
USERS, ITEMS = 23, 310
TOLERANCE = 2e-5  # of the largest score: float32 sums in another order


def export(case, model, target, items=ITEMS, users=USERS):
    """Export the model, with ids where it has no table of one row for each of them."""
    known = features(items)
    ids = {"user_ids": list(range(users)), "item_ids": list(range(items))} if case.needs_ids else {}
    item_features = {name: known[name] for name in case.features}
    return export_model(model, target, similarity="model", item_features=item_features or None, **ids)


def assert_scores_and_ranks(case, model, target, items=ITEMS, users=USERS):
    """Every score, and every ranking of all items, is that of the framework's own forward, by both ways of retrieval."""
    expected = all_pairs(model, case, np.arange(users), np.arange(items))
    tolerance = TOLERANCE * np.abs(expected).max() + 1e-6
    for retrieval in ("exact", "plain"):
        served = load_model(target, retrieval=retrieval)
        assert expected == pytest.approx(served.scores(np.arange(users), np.arange(items)), abs=tolerance)
        for user, item in ((0, 0), (users - 1, items // 2), (users // 2, items - 1)):
            solo = all_pairs(model, case, np.array([user]), np.array([item]), features(items))
            assert solo == pytest.approx(served.scores(np.array([user]), np.array([item])), abs=tolerance)
            assert expected[user, item] == pytest.approx(solo[0, 0], abs=tolerance)
        for k in {1, min(10, items), items}:
            for user, ranking in enumerate(served.rank([Query(row, k) for row in range(users)])):
                best = np.sort(expected[user])[::-1][:k]
                assert k == len(set(ranking.item_rows.tolist()))
                assert best == pytest.approx(expected[user][ranking.item_rows], abs=2 * tolerance)  # equal scores may change order
                assert best == pytest.approx(ranking.scores, abs=tolerance)


def check(case, target, assert_nothing_written, gain=1.0, items=ITEMS, users=USERS):
    """The bundle scores as the framework does; or the export is refused as the case says, and leaves no file."""
    model = trained(case.build(users, items), gain)
    try:
        export(case, model, target, items, users)
    except ExportRefused as refusal:
        if not case.refusal:
            raise
        assert re.search(case.refusal, str(refusal))
        assert "Traceback" not in str(refusal)
        assert_nothing_written()
    else:
        assert_scores_and_ranks(case, model, target, items, users)


def selected(cases, *names):
    """The cases of these names, or all of them under RECOSERVE_TEST_ALL."""
    return [cases[name] for name in (sorted(cases) if ALL else names)]


def name_of(case):
    return case.name


ALWAYS_RUN = (
    "FactorizationMachine",
    "PopularityAndAge",
    "ColdStart",
    "OneTable",
    "Hyperbolic",
    "FeatureAttention",
    "Experts",
    "MultiInterest",
    "SafeShare",
    "OuterProduct",
    "keras_deep_fm",
    "keras_expected_rating",
)


@pytest.mark.parametrize("case", selected(SCORERS, *ALWAYS_RUN), ids=name_of)
def test_an_unknown_scorer_is_served_with_the_scores_of_its_framework(case, target, assert_nothing_written):
    """Every pair's score, and every user's ranking of the full catalogue, by both ways of retrieval."""
    check(case, target, assert_nothing_written)


@pytest.mark.parametrize(
    "case", selected(ODD, "SoftmaxOfBatch", "ItemsCentred", "SmallNoise", "SeldomNothing", "BySize", "Overflowing"), ids=name_of
)
def test_a_scorer_that_can_not_be_ranked_by_is_refused_or_served_exactly(case, target, assert_nothing_written):
    """Where a score depends on other pairs of the batch, is random or no number, the message says so and no file is left."""
    check(case, target, assert_nothing_written)


def test_a_score_that_one_item_changes_for_all_is_refused(target, assert_nothing_written):
    """Few batches have that item, and the probes may miss it: the reduction over the batch itself is recognised in the graph."""
    check(ODD["SeldomCoupled"], target, assert_nothing_written, items=257, users=1)


@pytest.mark.parametrize(("users", "items"), [(1, 1), (2, 2), (1, 257), (2, 5000)])
@pytest.mark.parametrize("case", selected(SCORERS, "DeepFM"), ids=name_of)
def test_no_size_of_a_catalogue_is_special(case, users, items, target, assert_nothing_written):
    """One item, one user, one block of items and one item more, several blocks; with scores so large that rounding shows."""
    check(case, target, assert_nothing_written, 2.0, items, users)
