"""A model of any shape, taken apart: one dot product where that is what it comes to, or else a ranker of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from model_export import parity, ranker, ranking_graphs
from model_export.dot_model import DotModel, dot_model, golden_sample
from model_export.formula import DotSource, Formula, check_tables
from model_export.pairs import Pairs
from model_export.partial.evaluate import evaluate
from model_export.partial.forms import PAIR, needed
from model_export.partial.outcome import Evaluated, NotApart, Vectors
from model_export.partial.probe import refuse_coupled, refuse_random, run_probe
from model_export.partial.whole import whole
from model_export.reference import PairReference
from service.bundle import contract
from service.bundle.golden import Golden
from service.errors import ExportRefused


@dataclass(frozen=True)
class PairModel:
    """A scorer of pairs whose `left` operators run for every item of the catalogue, and whose other ones run once a side."""

    pairs: Pairs
    found: Evaluated
    left: int
    similarity = "model"
    graphs = contract.GRAPHS
    dim = None
    own = None

    @cached_property
    def reference(self) -> PairReference:
        """The framework's own forward."""
        return PairReference(self.pairs)

    def write(self, folder: Path) -> None:
        """Write the item's side of the whole catalogue, and the graphs that rank with it."""
        ranking_graphs.write(folder, ranker.prepare(folder / contract.TENSORS, self.pairs, self.found))

    def golden(self) -> Golden:
        """A sample with the framework's own scores."""
        return golden_sample(self.reference)

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused where the graphs differ."""
        figures = parity.check(folder, self.reference)
        return {**figures, "framework_pairs": figures["pairs"], "framework_largest_difference": figures["largest_difference"]}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the manifest says of the model's own score."""
        return {"formula": None, "operators": len(self.pairs.source.network.nodes), "operators_per_pair": self.left}


def pair_model(pairs: Pairs, similarity: str | None) -> tuple[DotModel | PairModel, list[str]]:
    """What a scorer of pairs comes to, and warnings; raises ExportRefused where it can't rank, or has no vectors to rank by."""
    network = pairs.source.network
    refuse_random(network)
    refuse_coupled(network, pairs.feeds, pairs.users, pairs.items)
    probe = run_probe(network, lambda users, items: pairs.feeds(users % pairs.users, items % pairs.items))
    warnings = []
    try:
        found = evaluate(network, probe, pairs.source.user)
    except NotApart as reason:
        found = whole(network, probe, pairs.source.user)
        warnings = [f"the model can't be taken apart ({reason}): all of it runs for every item of the catalogue, in pieces"]
    if isinstance(found.score, Vectors):
        return _as_dot(pairs, found, found.score, similarity), warnings
    if similarity in ("cosine", "dot"):
        raise ExportRefused(
            f"similarity {similarity} needs a user and an item vector, and this model is more than one dot product of them: "
            "leave similarity out, or choose model"
        )
    left = len(needed(found.programs.nodes[PAIR], [found.score]))
    return PairModel(pairs, found, left), warnings


def _as_dot(pairs: Pairs, found: Evaluated, vectors: Vectors, similarity: str | None) -> DotModel:
    source = pairs.source
    users, items = ranker.vector_tables(pairs, found, vectors)
    check_tables(users, items)
    tables = DotSource(
        framework=source.framework,
        versions=source.versions,
        name=source.name,
        users=users,
        items=items,
        scores=pairs.scores,
        digest=source.digest,
        own=Formula(cosine=False, tail=found.tail),
        plain=vectors.plain,
    )
    return dot_model(tables, similarity, PairReference(pairs))
