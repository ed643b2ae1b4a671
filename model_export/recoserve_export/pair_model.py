"""A model of any shape, taken apart: one dot product where that is what it comes to, or else a ranker of the catalogue."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from recoserve.bundle import contract
from recoserve.bundle.golden import Golden
from recoserve.errors import ExportRefused
from recoserve_export.dot_model import DotModel, dot_model, golden_sample
from recoserve_export.graph.dot_score import DotSource, Formula, check_tables
from recoserve_export.graph.pair_scorer import Pairs
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.fallback import whole
from recoserve_export.partial.probe import Probe, refuse_coupled, refuse_mixed, refuse_random, run_probe
from recoserve_export.partial.result import Evaluated, NotApart, Vectors
from recoserve_export.partial.values import PAIR, needed
from recoserve_export.verify import parity
from recoserve_export.verify.reference import PairReference
from recoserve_export.write import item_tables, ranking_graphs


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
            prepared = item_tables.prepare(tensors, self.pairs, self.found)
        except NotApart as reason:
            tensors.unlink()
            self.found, note = _whole(self.pairs, reason)
            self.notes.append(note)
            prepared = item_tables.prepare(tensors, self.pairs, self.found)
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
    users, items = item_tables.vector_tables(pairs, found, vectors)
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
