"""A model that is one dot product, ready to be written: two tables, the form of its score, and everything that dot models have."""

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
from recoserve_export.write import dot_graphs, int8_index, tensors

GOLDEN_USERS, GOLDEN_TOP, GOLDEN_ITEMS = 32, 10, 64


@dataclass(frozen=True)
class DotModel:
    """Two tables, served by `similarity`, whose scores are those of `formula`; `own` is the form of the model's own score.

    `compared` pairs of the framework's own forward were off by `gap` at most. `truth` is that forward, where it is what is served
    and the tables are not the model's own.
    """

    source: DotSource
    similarity: str
    formula: Formula
    own: Formula | None
    compared: int
    gap: float
    truth: PairReference | None = None
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
    def reference(self) -> TableReference:
        """Brute force over both tables."""
        return TableReference(self.source.users, self.source.items, self.formula)

    def write(self, folder: Path) -> None:
        """Write the tables, the graphs over them, and the screen."""
        spans = tensors.write(folder / contract.TENSORS, self.source.users, self.source.items, self.formula)
        dot_graphs.write(folder, *spans, self.formula)
        int8_index.write(folder, *spans, self.source.items, self.formula)

    def golden(self) -> Golden:
        """A sample with the framework's own scores where they are what is served, and the float64 reference's otherwise."""
        found = golden_sample(self.truth or self.reference)
        if self.truth or self.similarity != "model" or self.source.scores is None:
            return found
        users, items = found.user_row, found.sample_item
        best = self.source.scores(np.repeat(users, found.item_row.shape[1]), found.item_row.reshape(-1))
        sampled = self.source.scores(np.repeat(users, len(items)), np.tile(items, len(users)))
        return Golden(users, found.item_row, best.reshape(found.score.shape), items, sampled.reshape(found.sample_score.shape))

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused where the graphs differ."""
        figures = parity.check(folder, self.truth or self.reference, self.reference)
        return {**figures, "framework_pairs": self.compared, "framework_largest_difference": self.gap}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the manifest says of the model's own score."""
        return {"formula": str(self.own) if self.own else None}


def dot_model(source: DotSource, similarity: str | None, truth: PairReference | None = None) -> DotModel:
    """The model with the similarity to serve: as told, or cosine, or its own score where a weight or a bias is part of its vectors.

    Raises ExportRefused where no closed form explains the model's score, or plain tables are to be served by their own.
    """
    own, compared, gap = recognise(source)
    kind = similarity or ("cosine" if source.plain else "model")
    if kind != "model":
        return DotModel(source, kind, Formula(cosine=kind == "cosine"), own, compared, gap)
    if own is None:
        raise ExportRefused("plain tables have no score of their own: choose similarity cosine or dot")
    return DotModel(source, kind, own, own, compared, gap, truth)


def golden_sample(reference: Reference) -> Golden:
    """Users and their best items, and the scores of items picked at random."""
    users = sample_rows(reference.users, min(GOLDEN_USERS, reference.sample), seed=0)
    items = sample_rows(reference.items, GOLDEN_ITEMS, seed=1)
    rows, products = reference.top(users, min(reference.items, GOLDEN_TOP))
    return Golden(
        users, rows, reference.formula.finish(products), items, reference.formula.finish(reference.products(users, items))
    )
