"""Checks a bundle's graphs without the model: the golden sample, rows outside the tables, the same scores by every graph."""

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
    """How far the graphs are from the golden sample, and the names of inputs and graphs that fail a check.

    `unguarded_inputs` accept a row outside the table; `inconsistent_graphs` give a user's vector, or a product, another score than
    the user gets.
    """

    largest_difference: float
    top_k_agreement: float
    scores_agree: bool
    unguarded_inputs: list[str]
    inconsistent_graphs: list[str]

    @property
    def golden_agrees(self) -> bool:
        """True if the golden sample is reproduced, within the tolerance of scores."""
        return self.scores_agree and self.top_k_agreement == 1.0

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return self.golden_agrees and not self.unguarded_inputs and not self.inconsistent_graphs


def self_check(folder: Path, graphs: BundleGraphs) -> SelfCheck:
    """The results of all checks of a folder, whose graphs are `graphs`."""
    user_count, item_count = user_and_item_counts(folder)
    with np.load(folder / contract.GOLDEN, allow_pickle=False) as arrays:
        golden = Golden.from_arrays(arrays, user_count, item_count)
    k = golden.item_row.shape[1]
    outputs = graphs.outputs(golden.user_row, golden.sample_item, k, item_count)
    tops = zip(golden.item_row, golden.score, outputs.rows, outputs.scores, strict=True)
    # Whether the top scores agree is up to `same_top`, since items of equal score may change places.
    top_difference, _ = score_difference(golden.score, outputs.scores)
    pair_difference, pairs_agree = score_difference(golden.sample_score, outputs.pair_scores)
    return SelfCheck(
        largest_difference=max(pair_difference, top_difference),
        top_k_agreement=float(np.mean([same_top(*user) for user in tops])),
        scores_agree=pairs_agree,
        unguarded_inputs=unguarded_inputs(graphs, user_count, item_count),
        inconsistent_graphs=inconsistent_graphs(graphs, golden.user_row, golden.sample_item, k, item_count),
    )


def user_and_item_counts(folder: Path) -> tuple[int, int]:
    """The number of users and of items, which the graph that ranks has as constants."""
    tensors = graph_file.parse((folder / contract.GRAPHS[contract.RECOMMEND]).read_bytes()).tensors
    user_count, item_count = (
        int(np.frombuffer(tensor.raw, np.int64)[0]) for name in contract.ROW_COUNTS for tensor in tensors if tensor.name == name
    )
    return user_count, item_count


def unguarded_inputs(graphs: BundleGraphs, user_count: int, item_count: int) -> list[str]:
    """The inputs that accept a row outside the table, -1 or the row count, as "user_id of model.onnx"; there must be none."""
    inside = np.zeros(1, np.int64)
    trials = [(contract.USER_ID, np.array([row]), inside) for row in (-1, user_count)]
    trials += [(contract.ITEM_ID, inside, np.array([row])) for row in (-1, item_count)]
    names = {f"{name} of {contract.GRAPHS[contract.SCORE]}" for name, *rows in trials if not graphs.refuses(graphs.score, *rows)}
    if not all(graphs.refuses(graphs.recommend, np.array([row]), 1) for row in (-1, user_count)):
        names.add(f"{contract.USER_ID} of {contract.GRAPHS[contract.RECOMMEND]}")
    return sorted(names)


def inconsistent_graphs(graphs: BundleGraphs, users: Rows, items: Rows, k: int, item_count: int) -> list[str]:
    """The file names of graphs that give users' vectors or products other scores than the users get; there must be none."""
    if not graphs.has(*contract.QUERY_GRAPHS):
        return []
    names: set[str] = set()
    for batch in score_batches(len(users), max(item_count, len(items))):
        names.update(_inconsistent_query_graphs(graphs, users[batch], items, k))
        if graphs.has(contract.FINISH) and not _tail_graph_agrees(graphs, users[batch], items):
            names.add(contract.FINISH_GRAPHS[contract.FINISH])
    return sorted(names)


def _inconsistent_query_graphs(graphs: BundleGraphs, users: Rows, items: Rows, k: int) -> list[str]:
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


def _tail_graph_agrees(graphs: BundleGraphs, users: Rows, items: Rows) -> bool:
    feed = {contract.USER_ID: users, contract.ITEM_ID: items}
    products, expected = graphs.run(contract.SCORE, [contract.PRODUCT, contract.SCORE_OUT], **feed)
    (scores,) = graphs.run(contract.FINISH, [contract.SCORE_OUT], **{contract.PRODUCT: products.reshape(-1)})
    return score_difference(expected.reshape(-1).astype(np.float64), scores)[1]


def main() -> None:
    """Print the results of the check of the folder sys.argv[1] as JSON; exit with 1 if a check failed."""
    folder = Path(sys.argv[1])
    check = self_check(folder, BundleGraphs(folder))
    document = {
        "largest_difference": check.largest_difference,
        "top_k_agreement": check.top_k_agreement,
        "passed": check.golden_agrees,
        "unguarded": check.unguarded_inputs,
        "astray": check.inconsistent_graphs,
    }
    sys.stdout.write(json.dumps(document) + os.linesep)
    if not check.passed:
        sys.exit(1)
