"""Scorers that the exporter was not made with: each answers as its framework does, or is refused with a reason; none is wrong.

A dozen of them, one for each way a model can be built, run always; RECOSERVE_TEST_ALL=1 runs every one, of every size.
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
OF_SCALE = 2e-5  # of the largest score: float32 sums in another order


def exported(case, model, target, items=ITEMS, users=USERS):
    """Its bundle; the ids are given where the model has no table of one row for each."""
    known = features(items)
    ids = {"user_ids": list(range(users)), "item_ids": list(range(items))} if case.named else {}
    given = {name: known[name] for name in case.features}
    return export_model(model, target, similarity="model", item_features=given or None, **ids)


def assert_answers(case, model, target, items=ITEMS, users=USERS):
    """Scores of all pairs and the whole order, in both ways of retrieval, as the framework's own forward has them."""
    own = all_pairs(model, case, np.arange(users), np.arange(items))
    near = OF_SCALE * np.abs(own).max() + 1e-6
    for retrieval in ("exact", "plain"):
        served = load_model(target, retrieval=retrieval)
        assert own == pytest.approx(served.scores(np.arange(users), np.arange(items)), abs=near)
        for user, item in ((0, 0), (users - 1, items // 2), (users // 2, items - 1)):
            alone = all_pairs(model, case, np.array([user]), np.array([item]), features(items))
            assert alone == pytest.approx(served.scores(np.array([user]), np.array([item])), abs=near)
            assert own[user, item] == pytest.approx(alone[0, 0], abs=near)
        for k in {1, min(10, items), items}:
            for user, answer in enumerate(served.rank([Query(row, k) for row in range(users)])):
                best = np.sort(own[user])[::-1][:k]
                assert k == len(set(answer.item_rows.tolist()))
                assert best == pytest.approx(own[user][answer.item_rows], abs=2 * near)  # equals may change places
                assert best == pytest.approx(answer.scores, abs=near)


def check(case, target, nothing_left, gain=1.0, items=ITEMS, users=USERS):
    """Answered as the framework does; or refused with a reason and without a trace, where the case allows that."""
    model = trained(case.build(users, items), gain)
    try:
        exported(case, model, target, items, users)
    except ExportRefused as refusal:
        if not case.says:
            raise
        assert re.search(case.says, str(refusal))
        assert "Traceback" not in str(refusal)
        nothing_left()
    else:
        assert_answers(case, model, target, items, users)


def some(cases, *names):
    """These, or all of them where all are asked for."""
    return [cases[name] for name in (sorted(cases) if ALL else names)]


def name_of(case):
    return case.name


TRIED = (
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


@pytest.mark.parametrize("case", some(SCORERS, *TRIED), ids=name_of)
def test_a_scorer_never_seen_before_answers_as_its_framework_does(case, target, nothing_left):
    """Every pair's score, and every user's order of the whole catalogue, by both ways of retrieval."""
    check(case, target, nothing_left)


@pytest.mark.parametrize(
    "case", some(ODD, "SoftmaxOfBatch", "ItemsCentred", "SmallNoise", "SeldomNothing", "BySize", "Overflowing"), ids=name_of
)
def test_what_can_not_be_ranked_by_is_refused_or_answered_right(case, target, nothing_left):
    """A score that hangs on its neighbours, on chance, or is none: the message says so, and no bundle is left."""
    check(case, target, nothing_left)


def test_a_score_that_one_item_changes_for_all_is_refused(target, nothing_left):
    """Few batches have that item, and no trial may happen on one: what is reduced over the batch gives itself away."""
    check(ODD["SeldomCoupled"], target, nothing_left, items=257, users=1)


@pytest.mark.parametrize(("users", "items"), [(1, 1), (2, 2), (1, 257), (2, 5000)])
@pytest.mark.parametrize("case", some(SCORERS, "DeepFM"), ids=name_of)
def test_no_size_of_a_catalogue_is_special(case, users, items, target, nothing_left):
    """One item, one user, a piece and one item more, several pieces; with scores so large that rounding shows."""
    check(case, target, nothing_left, 2.0, items, users)
