"""What a bundle's graphs must hold without the model: the golden sample, refusal of rows outside the tables, one score a pair."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle import contract, graph_file
from recoserve.bundle.arrays import Rows
from recoserve.bundle.golden import Golden, same_top, score_difference
from recoserve_export.verify.bundle_graphs import BundleGraphs, score_batches


@dataclass(frozen=True)
class SelfCheck:
    """How far the graphs are from the golden sample, and the names of graphs that break a law.

    `unguarded` names inputs that accept a row outside the table; `inconsistent` names graphs that give a user's vector, or a
    product, another score than the user gets.
    """

    largest_difference: float
    top_k_agreement: float
    scores_agree: bool
    unguarded: list[str]
    inconsistent: list[str]

    @property
    def golden_agrees(self) -> bool:
        """Whether the golden sample is reproduced, within the tolerance of scores."""
        return self.scores_agree and self.top_k_agreement == 1.0

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return self.golden_agrees and not self.unguarded and not self.inconsistent


def self_check(folder: Path, graphs: BundleGraphs) -> SelfCheck:
    """Every check that needs the bundle alone."""
    users, items = row_counts(folder)
    with np.load(folder / contract.GOLDEN, allow_pickle=False) as arrays:
        golden = Golden.from_arrays(arrays, users, items)
    k = golden.item_row.shape[1]
    outputs = graphs.outputs(golden.user_row, golden.sample_item, k, items)
    tops = zip(golden.item_row, golden.score, outputs.rows, outputs.scores, strict=True)
    # `same_top` judges the differences at the top, where items of equal score may change places.
    top_difference, _ = score_difference(golden.score, outputs.scores)
    pair_difference, pairs_agree = score_difference(golden.sample_score, outputs.pair_scores)
    return SelfCheck(
        largest_difference=max(pair_difference, top_difference),
        top_k_agreement=float(np.mean([same_top(*user) for user in tops])),
        scores_agree=pairs_agree,
        unguarded=unguarded(graphs, users, items),
        inconsistent=inconsistent(graphs, golden.user_row, golden.sample_item, k, items),
    )


def row_counts(folder: Path) -> tuple[int, int]:
    """The rows of users and of items, as the constants of the graph that ranks have them."""
    tensors = graph_file.parse((folder / contract.GRAPHS[contract.RECOMMEND]).read_bytes()).tensors
    users, items = (
        int(np.frombuffer(tensor.raw, np.int64)[0]) for name in contract.ROW_COUNTS for tensor in tensors if tensor.name == name
    )
    return users, items


def unguarded(graphs: BundleGraphs, users: int, items: int) -> list[str]:
    """The inputs that accept a row outside the table, -1 or the row count, as "user_id of model.onnx"; there must be none."""
    inside = np.zeros(1, np.int64)
    trials = [(contract.USER_ID, np.array([row]), inside) for row in (-1, users)]
    trials += [(contract.ITEM_ID, inside, np.array([row])) for row in (-1, items)]
    accepted = {f"{name} of {contract.GRAPHS[contract.SCORE]}" for name, *rows in trials if not graphs.refuses(graphs.score, *rows)}
    if not all(graphs.refuses(graphs.recommend, np.array([row]), 1) for row in (-1, users)):
        accepted.add(f"{contract.USER_ID} of {contract.GRAPHS[contract.RECOMMEND]}")
    return sorted(accepted)


def inconsistent(graphs: BundleGraphs, users: Rows, items: Rows, k: int, catalogue_size: int) -> list[str]:
    """The graphs that give the vectors or the products of users other scores than the users get; there must be none."""
    if not graphs.has(*contract.QUERY_GRAPHS):
        return []
    batches = score_batches(len(users), max(catalogue_size, len(items)))
    names = {name for batch in batches for check in (_query_graphs, _tail_graph) for name in check(graphs, users[batch], items, k)}
    return sorted(names)


def _query_graphs(graphs: BundleGraphs, users: Rows, items: Rows, k: int) -> list[str]:
    vectors = graphs.user_vectors(users)
    trials: tuple[tuple[str, dict[str, Any], Any], ...] = (
        (contract.RECOMMEND_QUERY, {contract.K: np.array([k])}, graphs.recommend(users, k)[1]),
        (contract.SCORE_QUERY, {contract.ITEM_ID: items}, graphs.score(users, items)),
    )
    names = []
    for role, feed, expected in trials:
        (scores,) = graphs.run(role, [contract.SCORE_OUT], **{contract.QUERY: vectors, **feed})
        if not score_difference(expected.astype(np.float64), scores)[1]:
            names.append(contract.QUERY_GRAPHS[role])
    return names


def _tail_graph(graphs: BundleGraphs, users: Rows, items: Rows, _: int) -> list[str]:
    if not graphs.has(contract.FINISH):
        return []
    feed = {contract.USER_ID: users, contract.ITEM_ID: items}
    products, expected = graphs.run(contract.SCORE, [contract.PRODUCT, contract.SCORE_OUT], **feed)
    (scores,) = graphs.run(contract.FINISH, [contract.SCORE_OUT], **{contract.PRODUCT: products.reshape(-1)})
    agrees = score_difference(expected.reshape(-1).astype(np.float64), scores)[1]
    return [] if agrees else [contract.FINISH_GRAPHS[contract.FINISH]]


def main() -> None:
    """Print as JSON what the check of the folder sys.argv[1] shows; exit 1 where it fails."""
    folder = Path(sys.argv[1])
    check = self_check(folder, BundleGraphs(folder))
    document = {
        "largest_difference": check.largest_difference,
        "top_k_agreement": check.top_k_agreement,
        "passed": check.golden_agrees,
        "unguarded": check.unguarded,
        "astray": check.inconsistent,
    }
    sys.stdout.write(json.dumps(document) + os.linesep)
    if not check.passed:
        sys.exit(1)
