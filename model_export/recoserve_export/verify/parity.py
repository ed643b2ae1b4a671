"""The gate: a bundle is written only if its graphs, run in a fresh process, rank and score as the model does.

For the users and items of a seeded sample, or for all of them if their pairs are few, these conditions must hold:

1. The score of every pair is the model's, within `tolerance`.
2. Each user's k best items over the whole catalogue are the model's; items of equal score may change places.
3. No block holds an item whose exact product is above the block's bound, or the int8 index could prove a wrong ranking.
4. The golden sample is reproduced, rows outside the tables are refused, and a user's vector gives the user's scores (`self_check`).

`python -m recoserve_export.verify.parity FOLDER` checks the fourth condition for a folder that is already written.
"""

from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.arrays import Float32Array, Rows
from recoserve.bundle.golden import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, TOLERANCE_OF_LARGEST, same_top, score_difference
from recoserve.errors import ExportRefused
from recoserve_export.sampling import MANY_PAIRS, sample_rows
from recoserve_export.verify import self_check
from recoserve_export.verify.bundle_graphs import BATCH_SCORES, GraphOutputs, score_batches
from recoserve_export.verify.fresh_process import run_graphs
from recoserve_export.verify.reference import Reference

MAX_ITEMS = 8192  # whose scores with every sampled user are compared
MAX_K = 100  # length of the rankings that are compared


def check(folder: Path, reference: Reference, bounded: Reference | None = None) -> dict[str, Any]:
    """The manifest's figures of parity; raises ExportRefused if the graphs in `folder` fail a condition.

    `reference` has the scores that the graphs must give. `bounded` has the products that the bounds of the int8 index must hold
    for; None for a bundle without such an index.
    """
    user_rows, item_rows = sample_users_and_items(reference.user_count, reference.item_count, reference.max_ranked_users)
    outputs, bundle_check = run_graphs(folder, user_rows, item_rows, min(reference.item_count, MAX_K))
    figures = _compare(reference, user_rows, item_rows, outputs)
    exceeded_count = _count_exceeded_bounds(bounded, user_rows, outputs.bounds) if bounded else 0
    if exceeded_count:
        raise ExportRefused(
            f"parity failed, so no bundle was written: {exceeded_count} bounds of the int8 index, one for each user and block, are "
            "below the product of an item"
        )
    scores_agree = figures.pop("scores_agree")
    if not (scores_agree and figures["top_k_agreement"] == 1.0 and bundle_check.passed):
        raise ExportRefused(f"parity failed, so no bundle was written: {_failure(figures, bundle_check)}")
    return {**figures, "tolerance": tolerance()}


def _failure(figures: dict[str, Any], bundle_check: self_check.SelfCheck) -> str:
    """The differences in words, for a message."""
    sentences = [
        f"the graphs' scores differ from the model's by up to {figures['largest_difference']:.3g} over {figures['pairs']} pairs, "
        f"and the top-{figures['k']} agrees for {figures['top_k_agreement']:.0%} of {figures['users']} users",
        f"the golden sample is off by up to {bundle_check.largest_difference:.3g}",
        *(f"a row outside the table is accepted: {name}" for name in bundle_check.unguarded_inputs),
        *(f"a user's vector or a product gets another score than the user: {name}" for name in bundle_check.inconsistent_graphs),
        "does the model give a pair the same score at every call, whatever other pairs are in the batch?",
    ]
    return "; ".join(sentences)


def sample_users_and_items(user_count: int, item_count: int, max_users: int) -> tuple[Rows, Rows]:
    """The user rows and the item rows whose scores are compared: all if their pairs are few, or else a sample of `max_users`."""
    if user_count * item_count <= MANY_PAIRS:
        return np.arange(user_count), np.arange(item_count)
    return sample_rows(user_count, max_users, seed=3), sample_rows(item_count, MAX_ITEMS, seed=4)


def _compare(reference: Reference, user_rows: Rows, item_rows: Rows, outputs: GraphOutputs) -> dict[str, Any]:
    """What the first two conditions need: the counts, the largest difference of a score, the share of users whose top k agrees."""
    largest_difference, scores_agree, agreeing_count = 0.0, True, 0
    scores_of = reference.formula.scores
    k = outputs.rows.shape[1]
    for batch in score_batches(len(user_rows), max(len(item_rows), k * reference.numbers_per_pair)):
        users, rows = user_rows[batch], outputs.rows[batch]
        best_rows, best_products = reference.top(users, k)
        products, scales = reference.products_of(users, rows), reference.scales(users)
        # Ranks are compared by products, before the tail: where a sigmoid saturates, every item would tie with every other, and any
        # order would pass. The products are divided by the user's scale: the absolute tolerance of 1e-5 would let any order of
        # products of 1e-6 pass.
        tops = zip(best_rows, best_products / scales, rows, products / scales, strict=True)
        agreeing_count += sum(
            same_top(expected_rows, expected_products, ranked_rows, ranked_products)
            for expected_rows, expected_products, ranked_rows, ranked_products in tops
        )
        # Scores behind a tail are not divided: the user's scale is that of the products before it.
        unit = 1.0 if reference.formula.tail else scales
        for expected, scores in (
            (scores_of(products), outputs.scores[batch]),
            (scores_of(reference.products(users, item_rows)), outputs.pair_scores[batch]),
        ):
            largest_difference = max(largest_difference, score_difference(expected, scores)[0])
            scores_agree = scores_agree and score_difference(expected / unit, scores / unit)[1]
    return {
        "pairs": len(user_rows) * len(item_rows),
        "users": len(user_rows),
        "k": k,
        "largest_difference": largest_difference,
        "top_k_agreement": agreeing_count / len(user_rows),
        "scores_agree": scores_agree,
    }


def _count_exceeded_bounds(reference: Reference, user_rows: Rows, bounds: Float32Array) -> int:
    """The number of pairs of a user and a block with an item whose float64 product exceeds the block's bound, by however little."""
    users, exceeded_count = user_rows[: len(bounds)], 0
    size = max(1, BATCH_SCORES // len(users) // contract.BLOCK) * contract.BLOCK
    for start in range(0, reference.item_count, size):
        rows = np.arange(start, min(start + size, reference.item_count))
        products = reference.products(users, rows)
        block_maxima = np.maximum.reduceat(products, np.arange(0, len(rows), contract.BLOCK), axis=1)
        first_block = start // contract.BLOCK
        exceeded_count += int((block_maxima > bounds[:, first_block : first_block + block_maxima.shape[1]]).sum())
    return exceeded_count


def tolerance() -> dict[str, float]:
    """By how much a score may differ from the model's, as the manifest records it.

    A difference passes up to absolute + relative · |score| + of_largest · (the largest |score| compared with it), numpy.allclose's
    formula with a third term. Sums in float32 in another order differ by about 1e-7 of the terms that are added. For long vectors
    at right angles these terms are far larger than their sum, and the largest score is a measure of them. A wrong row differs by
    far more than all three.
    """
    return {"absolute": ABSOLUTE_TOLERANCE, "relative": RELATIVE_TOLERANCE, "of_largest": TOLERANCE_OF_LARGEST}


if __name__ == "__main__":
    self_check.main()
