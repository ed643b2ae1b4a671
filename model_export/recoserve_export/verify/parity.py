"""The gate: a bundle is written only if its graphs, run in a fresh process, rank and score as the model does.

The laws, for the users and items of a seeded sample, or for all of them where their pairs are few:

1. The score of every pair is the model's, within `tolerance`.
2. Each user's k best items over the whole catalogue are the model's; items of equal score may change places.
3. No block holds an item whose exact product is above the block's bound, or the int8 index could prove a wrong ranking.
4. The golden sample is reproduced, rows outside the tables are refused, and users' vectors score as the users (`self_check`).

`python -m recoserve_export.verify.parity FOLDER` checks the fourth law of a folder that is already written.
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

ITEMS, TOP = 8192, 100  # most items whose scores are compared with every sampled user, and most places of a ranking


def check(folder: Path, reference: Reference, vectors: Reference | None = None) -> dict[str, Any]:
    """The manifest's figures of parity; raises ExportRefused where the graphs in `folder` break a law.

    `reference` has the scores that the graphs must give, `vectors` the products that no bound of the int8 index may be below.
    """
    user_rows, item_rows = sampled(reference.users, reference.items, reference.most_users)
    outputs, self_checked = run_graphs(folder, user_rows, item_rows, min(reference.items, TOP))
    figures = _compare(reference, user_rows, item_rows, outputs)
    exceeded = _exceeded_bounds(vectors, user_rows, outputs.bounds) if vectors else 0
    if exceeded:
        raise ExportRefused(f"parity failed, so no bundle was written: {exceeded} blocks hold an item that beats their bound")
    scores_agree = figures.pop("scores_agree")
    if not (scores_agree and figures["top_k_agreement"] == 1.0 and self_checked.passed):
        raise ExportRefused(f"parity failed, so no bundle was written: {_failure(figures, self_checked)}")
    return {**figures, "tolerance": tolerance()}


def _failure(figures: dict[str, Any], checked: self_check.SelfCheck) -> str:
    """The differences in words."""
    sentences = [
        f"the graphs' scores differ from the model's by up to {figures['largest_difference']:.3g} over {figures['pairs']} pairs, "
        f"and the top-{figures['k']} agrees for {figures['top_k_agreement']:.0%} of {figures['users']} users",
        f"the golden sample is off by up to {checked.largest_difference:.3g}",
        *(f"a row outside the table is accepted: {name}" for name in checked.unguarded),
        *(f"a user's vector or a product gets another score than the user: {name}" for name in checked.inconsistent),
        "does the model give a pair the same score at every call, whatever other pairs are in the batch?",
    ]
    return "; ".join(sentences)


def sampled(users: int, items: int, most_users: int) -> tuple[Rows, Rows]:
    """The user rows and the item rows whose scores are compared: all of them where their pairs are few."""
    all_pairs = users * items <= MANY_PAIRS
    return sample_rows(users, users if all_pairs else most_users, seed=3), sample_rows(items, items if all_pairs else ITEMS, seed=4)


def _compare(reference: Reference, user_rows: Rows, item_rows: Rows, outputs: GraphOutputs) -> dict[str, Any]:
    """The first two laws: the counts, the largest difference of a score, the share of users whose top-k agrees."""
    largest, scores_agree, agreeing = 0.0, True, 0
    scores_of = reference.formula.scores
    k = outputs.rows.shape[1]
    for batch in score_batches(len(user_rows), max(len(item_rows), k * reference.numbers_per_pair)):
        users, rows = user_rows[batch], outputs.rows[batch]
        best_rows, best_products = reference.top(users, k)
        products, scales = reference.products_of(users, rows), reference.scales(users)
        # Ranks are compared by products, in front of the tail: where a sigmoid saturates, every item would tie with every other and
        # any order would pass. And as shares of the user's scale: the absolute tolerance of 1e-5 would let any order of products of
        # 1e-6 pass.
        tops = zip(best_rows, best_products / scales, rows, products / scales, strict=True)
        agreeing += sum(same_top(*user) for user in tops)
        # The scores themselves have a scale of their own where a tail such as a sigmoid bounds them.
        unit = 1.0 if reference.formula.tail else scales
        for expected, scores in (
            (scores_of(products), outputs.scores[batch]),
            (scores_of(reference.products(users, item_rows)), outputs.pair_scores[batch]),
        ):
            largest = max(largest, score_difference(expected, scores)[0])
            scores_agree = scores_agree and score_difference(expected / unit, scores / unit)[1]
    return {
        "pairs": len(user_rows) * len(item_rows),
        "users": len(user_rows),
        "k": k,
        "largest_difference": largest,
        "top_k_agreement": agreeing / len(user_rows),
        "scores_agree": scores_agree,
    }


def _exceeded_bounds(reference: Reference, user_rows: Rows, bounds: Float32Array) -> int:
    """How many blocks hold an item whose float64 product is above the block's bound; there must be none, by no margin at all."""
    users, exceeded = user_rows[: len(bounds)], 0
    size = max(1, BATCH_SCORES // len(users) // contract.BLOCK) * contract.BLOCK
    for start in range(0, reference.items, size):
        rows = np.arange(start, min(start + size, reference.items))
        products = reference.products(users, rows)
        largest = np.maximum.reduceat(products, np.arange(0, len(rows), contract.BLOCK), axis=1)
        exceeded += int((largest > bounds[:, start // contract.BLOCK :][:, : largest.shape[1]]).sum())
    return exceeded


def tolerance() -> dict[str, float]:
    """By how much a score may differ from the model's, as the manifest records it.

    A difference passes up to absolute + relative · |score| + of_largest · (the largest |score| compared with it), numpy.allclose's
    formula with a third term. Sums in float32 in another order differ by about 1e-7 of the terms that are added, and for long
    vectors at right angles the terms are far larger than their sum: the largest score stands for them. A wrong row differs by far
    more than all three.
    """
    return {"absolute": ABSOLUTE_TOLERANCE, "relative": RELATIVE_TOLERANCE, "of_largest": TOLERANCE_OF_LARGEST}


if __name__ == "__main__":
    self_check.main()
