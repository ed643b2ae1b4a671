"""A model of any shape, taken apart: one dot product where that is what it comes to, or else a ranker of the catalogue."""

from collections.abc import Mapping, Sequence
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
from model_export.partial.probe import Probe, refuse_coupled, refuse_mixed, refuse_random, run_probe
from model_export.partial.whole import whole
from model_export.reference import PairReference
from service.bundle import contract
from service.bundle.golden import Golden
from service.errors import ExportRefused


class PairModel:
    """A scorer of pairs: what is left of it runs for every item of the catalogue, the rest once a side.

    `notes` are what the report has to tell.
    """

    similarity = "model"
    graphs = contract.GRAPHS
    dim = None

    def __init__(self, pairs: Pairs, found: Evaluated, notes: Sequence[str] = ()) -> None:
        self.pairs = pairs
        self.found = found
        self.notes = list(notes)

    @cached_property
    def reference(self) -> PairReference:
        """The framework's own forward."""
        return PairReference(self.pairs)

    def write(self, folder: Path) -> None:
        """Write the item's side of the whole catalogue, and the graphs that rank with it."""
        tensors = folder / contract.TENSORS
        try:
            prepared = ranker.prepare(tensors, self.pairs, self.found)
        except NotApart as reason:
            tensors.unlink()
            self.found, note = _whole(self.pairs, reason)
            self.notes.append(note)
            prepared = ranker.prepare(tensors, self.pairs, self.found)
        ranking_graphs.write(folder, prepared)

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
        left = needed(self.found.programs.nodes[PAIR], [str(self.found.score)])
        return {"formula": None, "operators": len(self.pairs.source.network.nodes), "operators_per_pair": len(left)}


def pair_model(pairs: Pairs, similarity: str | None) -> DotModel | PairModel:
    """What a scorer of pairs comes to; raises ExportRefused where it can't rank, or has no vectors to rank by."""
    network = pairs.source.network
    refuse_random(network)
    refuse_coupled(network, pairs.feeds, pairs.users, pairs.items)
    try:
        found = evaluate(network, _probe(pairs), pairs.source.user)
        model = _as_dot(pairs, found, found.score, similarity) if isinstance(found.score, Vectors) else PairModel(pairs, found)
    except NotApart as reason:
        found, note = _whole(pairs, reason)
        model = PairModel(pairs, found, [note])
    if isinstance(model, PairModel) and similarity in ("cosine", "dot"):
        raise ExportRefused(
            f"similarity {similarity} needs a user and an item vector, and this model is more than one dot product of them: "
            "leave similarity out, or choose model"
        )
    return model


def _probe(pairs: Pairs) -> Probe:
    probe = run_probe(pairs.source.network, pairs.feeds, pairs.users, pairs.items)
    refuse_mixed(pairs.source.network, probe)
    return probe


def _whole(pairs: Pairs, reason: NotApart) -> tuple[Evaluated, str]:
    """The model as it stands, and the warning that goes with it."""
    found = whole(pairs.source.network, _probe(pairs), pairs.source.user)
    return found, f"the model can't be taken apart ({reason}): all of it runs for every item of the catalogue, in pieces"


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
