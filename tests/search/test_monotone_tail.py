"""Scores that a monotone tail makes equal: the items stand in the order of their products, by whatever search."""

import numpy as np
import pytest

from recoserve.scheduling.loader import load_model
from recoserve.search.filters import Condition
from recoserve.search.query import Query
from recoserve_export import export_model
from tests.export.models import random_tables, torch_model
from tests.searches import searching_by

ITEMS = 300


def dot_scorer(module, user, item):
    import torch

    return torch.sigmoid(100 * (user * item).sum(-1))


def mlp_scorer(module, user, item):
    import torch

    return torch.sigmoid(100 * torch.relu(torch.cat([user, item], -1) @ module.weight.T).sum(-1))


@pytest.fixture(scope="module", params=["dot", "mlp"])
def folder(request, tmp_path_factory):
    import torch

    weight = torch.nn.Parameter(torch.tensor(np.random.default_rng(1).normal(size=(8, 16)), dtype=torch.float32))
    module = torch_model(*random_tables(6, ITEMS), {"dot": dot_scorer, "mlp": mlp_scorer}[request.param], weight=weight)
    folder = tmp_path_factory.mktemp("saturated") / "1"
    export_model(module, folder, similarity="model", items=[{"group": row % 2} for row in range(ITEMS)])
    return folder


@pytest.fixture(scope="module", params=["exact", "plain"])  # of so few items the graphs need a full scan
def model(request, folder):
    with searching_by(request.param) as retrieval:
        return load_model(folder, retrieval=retrieval)


def test_saturated_scores_keep_the_order_of_their_products(model):
    """A filter that everything passes, and every item as a candidate, change nothing; nor do half of the items."""
    everything, half = np.arange(ITEMS), np.arange(0, ITEMS, 2)
    for user in range(6):
        queries = [
            Query(user, ITEMS),
            Query(user, ITEMS, candidates=everything),
            Query(user, ITEMS, conditions=(Condition("group", "in", (0, 1)),)),
            Query(user, ITEMS, candidates=half),
            Query(user, ITEMS, conditions=(Condition("group", "eq", (0,)),)),
        ]
        all_rows, *selections = (ranking.item_rows.tolist() for ranking in model.rank(queries))
        scores = model.rank(queries[:1])[0].scores
        assert len(set(scores.tolist())) < ITEMS
        even_rows = [row for row in all_rows if row % 2 == 0]
        for expected, rows in zip([all_rows, all_rows, even_rows, even_rows], selections, strict=True):
            assert sorted(expected) == sorted(rows)
            # The graphs may order products differently that are an ulp apart.
            assert all(abs(expected.index(row) - position) <= 2 for position, row in enumerate(rows))
