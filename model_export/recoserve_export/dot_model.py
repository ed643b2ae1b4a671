"""A model that is one dot product, ready to be written: two tables, the formula of the score that is served, and their parity."""

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

GOLDEN_USERS, GOLDEN_TOP, GOLDEN_ITEMS = 32, 10, 64


@dataclass(frozen=True)
class DotExport:
    """Two tables, served by `similarity`, whose scores are those of `formula`; `own_formula` is that of the model's own score.

    `compared_pairs` of the framework's own scores were off by `largest_difference` at most. `framework` has those scores where they
    are what is served and partial evaluation made the tables: the tables are then not to be trusted as a reference of themselves.
    """

    source: DotSource
    similarity: str
    formula: Formula
    own_formula: Formula | None
    compared_pairs: int
    largest_difference: float
    framework: PairReference | None = None
    notes: tuple[str, ...] = ()

    @property
    def graphs(self) -> Mapping[str, str]:
        """Role -> file."""
        tail = contract.FINISH_GRAPHS if self.formula.tail else {}
        return {**contract.GRAPHS, **contract.QUERY_GRAPHS, **contract.SCREEN_GRAPHS, **tail}

    @property
    def dim(self) -> int:
        """Width of both tables."""
        return self.source.users.width

    @property
    def tables(self) -> TableReference:
        """Brute force over both tables."""
        return TableReference(self.source.users, self.source.items, self.formula)

    def write(self, folder: Path) -> None:
        """Write the tables and the graphs over them, then the int8 index and the graphs over it."""
        users, items = tensors.write(folder / contract.TENSORS, self.source.users, self.source.items, self.formula)
        dot_graphs.write(folder, users, items, self.formula)
        index = int8_index.write(folder, self.source.items, self.formula)
        int8_graphs.write(folder, users, items, index, self.formula)

    def golden(self) -> Golden:
        """A sample of the framework's own scores where they are what is served, and of float64 scores of the tables elsewhere."""
        sample = golden_sample(self.framework or self.tables)
        if self.framework or self.similarity != "model" or self.source.scores is None:
            return sample
        # The tables rank, which costs one product an item; the framework scores only the pairs of the sample.
        users, items = sample.user_row, sample.sample_item
        best = self.source.scores(np.repeat(users, sample.item_row.shape[1]), sample.item_row.reshape(-1))
        sampled = self.source.scores(np.repeat(users, len(items)), np.tile(items, len(users)))
        return Golden(users, sample.item_row, best.reshape(sample.score.shape), items, sampled.reshape(sample.sample_score.shape))

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused where the graphs differ."""
        figures = parity.check(folder, self.framework or self.tables, self.tables)
        return {**figures, "framework_pairs": self.compared_pairs, "framework_largest_difference": self.largest_difference}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The formula of the model's own score, for the manifest; None for tables without a model."""
        return {"formula": str(self.own_formula) if self.own_formula else None}


def prepare(source: DotSource, similarity: str | None, framework: PairReference | None = None) -> DotExport:
    """The model with the similarity to serve; default: cosine, or the model's own score where a weight or a bias is in its vectors.

    Raises ExportRefused where no formula explains the model's score, or tables without a model are to be served by `model`.
    """
    own_formula, compared_pairs, difference = recognise(source)
    served = similarity or ("cosine" if source.uses_own_embeddings else "model")
    if served != "model":
        return DotExport(source, served, Formula(cosine=served == "cosine"), own_formula, compared_pairs, difference)
    if own_formula is None:
        raise ExportRefused("plain tables have no score of their own: choose similarity cosine or dot")
    return DotExport(source, served, own_formula, own_formula, compared_pairs, difference, framework)


def golden_sample(reference: Reference) -> Golden:
    """Some users with their best items, and their scores of items picked at random."""
    users = sample_rows(reference.user_count, min(GOLDEN_USERS, reference.max_ranked_users), seed=0)
    items = sample_rows(reference.item_count, GOLDEN_ITEMS, seed=1)
    rows, products = reference.top(users, min(reference.item_count, GOLDEN_TOP))
    scores_of = reference.formula.scores
    return Golden(users, rows, scores_of(products), items, scores_of(reference.products(users, items)))
