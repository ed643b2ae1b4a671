"""A dot model, ready to be written: its two tables, the formula of the score that is served, and the check of what was written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.golden import Golden
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, Formula, recognise
from recoserve_export.sampling import sample_rows
from recoserve_export.verify import parity
from recoserve_export.verify.reference import PairReference, Reference, TableReference
from recoserve_export.write import dot_graphs, int8_graphs, int8_index, tensors

GOLDEN_USERS, GOLDEN_K, GOLDEN_ITEMS = 32, 10, 64


@dataclass(frozen=True)
class DotExport:
    """Two tables, to be served by `similarity`.

    `formula` is that of the served score; `own_formula` that of the model's own score, None for tables without a model. It differed
    from the framework's own scores by `largest_difference` at most, on `compared_pair_count` pairs. `framework_reference` has the
    framework's own scores if these are served and partial evaluation made the tables: then the tables can't be their own reference.
    """

    source: DotSource
    similarity: str
    formula: Formula
    own_formula: Formula | None
    compared_pair_count: int
    largest_difference: float
    framework_reference: PairReference | None = None
    notes: tuple[str, ...] = ()

    @property
    def graphs(self) -> Mapping[str, str]:
        """The file name of each graph, by its role."""
        tail_graphs = contract.FINISH_GRAPHS if self.formula.tail else {}
        return {**contract.GRAPHS, **contract.QUERY_GRAPHS, **contract.SCREEN_GRAPHS, **tail_graphs}

    @property
    def dim(self) -> int:
        """The width of both tables."""
        return self.source.users.width

    @property
    def table_reference(self) -> TableReference:
        """The products and scores of both tables by brute force."""
        return TableReference(self.source.users, self.source.items, self.formula)

    def write(self, folder: Path) -> None:
        """Write the tables and the graphs over them, then the int8 index and the graphs over it."""
        users, items = tensors.write(folder / contract.TENSORS, self.source.users, self.source.items, self.formula)
        dot_graphs.write(folder, users, items, self.formula)
        index = int8_index.write(folder, self.source.items, self.formula)
        int8_graphs.write(folder, users, items, index, self.formula)

    def golden(self) -> Golden:
        """The golden sample: of the framework's own scores if these are served, otherwise of float64 scores of the tables."""
        sample = golden_sample(self.framework_reference or self.table_reference)
        if self.framework_reference or self.similarity != "model" or self.source.scores is None:
            return sample
        # The tables rank, since that costs one product for each item; the framework scores only the pairs of the sample.
        users, items = sample.user_row, sample.sample_item
        best_scores = self.source.scores(np.repeat(users, sample.item_row.shape[1]), sample.item_row.reshape(-1))
        sample_scores = self.source.scores(np.repeat(users, len(items)), np.tile(items, len(users)))
        return Golden(
            user_row=users,
            item_row=sample.item_row,
            score=best_scores.reshape(sample.score.shape),
            sample_item=items,
            sample_score=sample_scores.reshape(sample.sample_score.shape),
        )

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused if the graphs differ from the model."""
        figures = parity.check(folder, self.framework_reference or self.table_reference, bounded=self.table_reference)
        return {**figures, "framework_pairs": self.compared_pair_count, "framework_largest_difference": self.largest_difference}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The formula of the model's own score, as the manifest has it; None for tables without a model."""
        return {"formula": str(self.own_formula) if self.own_formula else None}


def prepare(source: DotSource, similarity: str | None, framework_reference: PairReference | None = None) -> DotExport:
    """The model, to be served by `similarity`.

    The default is cosine, or the model's own score if a weight or a bias was multiplied into its vectors. `framework_reference` has
    the framework's own scores if partial evaluation made the tables. Raises ExportRefused if no formula explains the model's score,
    or if tables without a model are to be served by `model`.
    """
    own_formula, pair_count, difference = recognise(source)
    similarity = similarity or ("cosine" if source.uses_own_embeddings else "model")
    if similarity != "model":
        return DotExport(source, similarity, Formula(cosine=similarity == "cosine"), own_formula, pair_count, difference)
    if own_formula is None:
        raise ExportRefused("tables without a model have no score of their own: choose similarity cosine or dot")
    return DotExport(source, similarity, own_formula, own_formula, pair_count, difference, framework_reference)


def golden_sample(reference: Reference) -> Golden:
    """The best items of some users, and the scores of these users for items picked at random."""
    users = sample_rows(reference.user_count, min(GOLDEN_USERS, reference.max_ranked_users), seed=0)
    items = sample_rows(reference.item_count, GOLDEN_ITEMS, seed=1)
    rows, products = reference.top(users, min(reference.item_count, GOLDEN_K))
    scores_of = reference.formula.scores
    return Golden(users, rows, scores_of(products), items, scores_of(reference.products(users, items)))
