"""Scores that a tail makes equal: items stand as what is in front of it, whichever way they are found."""

import numpy as np
import pytest

from recoserve.scheduling.loader import load_model
from recoserve.search.filters import Condition
from recoserve.search.query import Query
from recoserve_export import export_model
from tests.export.models import random_tables, torch_model
from tests.ways import found_by

ITEMS = 300


def dot_scorer(module, left, right):
    import torch

    return torch.sigmoid(100 * (left * right).sum(-1))


def mlp_scorer(module, left, right):
    import torch

    return torch.sigmoid(100 * torch.relu(torch.cat([left, right], -1) @ module.weight.T).sum(-1))


@pytest.fixture(scope="module", params=["dot", "mlp"])
def folder(request, tmp_path_factory):
    import torch

    weight = torch.nn.Parameter(torch.tensor(np.random.default_rng(1).normal(size=(8, 16)), dtype=torch.float32))
    module = torch_model(*random_tables(6, ITEMS), {"dot": dot_scorer, "mlp": mlp_scorer}[request.param], weight=weight)
    folder = tmp_path_factory.mktemp("saturated") / "1"
    export_model(module, folder, similarity="model", items=[{"group": row % 2} for row in range(ITEMS)])
    return folder


@pytest.fixture(scope="module", params=["exact", "plain"])  # of so few items the graphs are asked for a plain scan
def model(request, folder):
    with found_by(request.param) as retrieval:
        return load_model(folder, retrieval=retrieval)


def test_the_best_are_saturated_and_no_order_is_lost_to_it(model):
    """A filter that everything passes, and every item as a candidate, change nothing; neither does half of them."""
    everything, half = np.arange(ITEMS), np.arange(0, ITEMS, 2)
    for user in range(6):
        queries = [
            Query(user, ITEMS),
            Query(user, ITEMS, candidates=everything),
            Query(user, ITEMS, conditions=(Condition("group", "in", (0, 1)),)),
            Query(user, ITEMS, candidates=half),
            Query(user, ITEMS, conditions=(Condition("group", "eq", (0,)),)),
        ]
        whole, *others = (found.item_rows.tolist() for found in model.rank(queries))
        scores = model.rank(queries[:1])[0].scores
        assert len(set(scores.tolist())) < ITEMS
        evens = [row for row in whole if row % 2 == 0]
        for expected, found in zip([whole, whole, evens, evens], others, strict=True):
            assert sorted(expected) == sorted(found)
            assert all(abs(expected.index(row) - place) <= 2 for place, row in enumerate(found))  # but for products an ulp apart
