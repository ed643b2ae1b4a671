"""A model of any shape, split by partial evaluation: one dot product, or a scorer that runs for every item."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from recoserve.bundle import contract
from recoserve.bundle.golden import Golden
from recoserve.errors import ExportRefused
from recoserve_export import dot_model
from recoserve_export.dot_model import DotExport
from recoserve_export.graph.dot_score import DotSource, Formula, check_tables
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.partial.builder import live_nodes
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.fallback import fallback
from recoserve_export.partial.probe import Probe, refuse_coupled, refuse_mixed, refuse_random, run_probe
from recoserve_export.partial.result import DotProductScore, NotSeparable, SplitScorer
from recoserve_export.partial.values import PAIR
from recoserve_export.verify import parity
from recoserve_export.verify.reference import PairReference
from recoserve_export.write import item_tables, ranking_graphs


class PairExport:
    """A scorer of pairs: each side is computed once a row, and what remains of the model runs for every item of the catalogue.

    `notes` are warnings for the report.
    """

    similarity = "model"
    graphs = contract.GRAPHS
    dim = None

    def __init__(self, scorer: PairScorer, split: SplitScorer, notes: Sequence[str] = ()) -> None:
        self.scorer = scorer
        self.split = split
        self.notes = list(notes)

    @cached_property
    def reference(self) -> PairReference:
        """The framework's own scores; one object, for it remembers those that it computed."""
        return PairReference(self.scorer)

    def write(self, folder: Path) -> None:
        """Write the item's side for the whole catalogue, and the graphs that rank with it."""
        tensors = folder / contract.TENSORS
        try:
            prepared = item_tables.prepare(tensors, self.scorer, self.split)
        except NotSeparable as reason:  # found only now: a side holds NaN or infinity in some row, not in those of the probe
            tensors.unlink()
            self.split, note = _unsplit(self.scorer, reason)
            self.notes.append(note)
            prepared = item_tables.prepare(tensors, self.scorer, self.split)
        ranking_graphs.write(folder, prepared)

    def golden(self) -> Golden:
        """A sample with the framework's own scores."""
        return dot_model.golden_sample(self.reference)

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused where the graphs differ."""
        figures = parity.check(folder, self.reference)
        return {**figures, "framework_pairs": figures["pairs"], "framework_largest_difference": figures["largest_difference"]}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How many operators the model has, and how many of them run for each pair, for the manifest."""
        pair_nodes = live_nodes(self.split.programs.nodes[PAIR], [str(self.split.score)])
        return {"formula": None, "operators": len(self.scorer.source.network.nodes), "operators_per_pair": len(pair_nodes)}


def prepare(scorer: PairScorer, similarity: str | None) -> DotExport | PairExport:
    """What a scorer of pairs comes to; raises ExportRefused where it can't rank, or has no vectors for `similarity`."""
    network = scorer.source.network
    refuse_random(network)
    refuse_coupled(network, scorer.feeds, scorer.user_count, scorer.item_count)
    try:
        split = evaluate(network, _probe(scorer), scorer.source.user)
        if isinstance(split.score, DotProductScore):
            return _as_dot(scorer, split, split.score, similarity)
        notes: list[str] = []
    except NotSeparable as reason:
        split, note = _unsplit(scorer, reason)
        notes = [note]
    if similarity in ("cosine", "dot"):
        raise ExportRefused(
            f"similarity {similarity} needs a user and an item vector, and this model is more than one dot product of them: "
            "leave similarity out, or choose model"
        )
    return PairExport(scorer, split, notes)


def _probe(scorer: PairScorer) -> Probe:
    probe = run_probe(scorer.source.network, scorer.feeds, scorer.user_count, scorer.item_count)
    refuse_mixed(scorer.source.network, probe)
    return probe


def _unsplit(scorer: PairScorer, reason: NotSeparable) -> tuple[SplitScorer, str]:
    """The model with all of its operators in the pair program, and the warning that gives the reason."""
    split = fallback(scorer.source.network, _probe(scorer), scorer.source.user)
    return split, f"the model can't be taken apart ({reason}): all of it runs for every item of the catalogue, in pieces"


def _as_dot(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore, similarity: str | None) -> DotExport:
    source = scorer.source
    users, items = item_tables.vector_tables(scorer, split, vectors)
    check_tables(users, items)
    tables = DotSource(
        framework=source.framework,
        versions=source.versions,
        name=source.name,
        users=users,
        items=items,
        scores=scorer.scores,
        digest=source.digest,
        formula=Formula(cosine=False, tail=split.tail),
        uses_own_embeddings=vectors.uses_own_embeddings,
    )
    return dot_model.prepare(tables, similarity, PairReference(scorer))
