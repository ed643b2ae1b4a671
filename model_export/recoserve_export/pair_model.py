"""A pair scorer, ready to be written: partial evaluation makes a dot model of it, or a ranker, which runs for every item."""

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
    """A ranker: the item's side is computed at export, the user's at each request, and the pair program runs for every item.

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
        """The framework's own scores; cached, since it remembers the scores that it has computed."""
        return PairReference(self.scorer)

    def write(self, folder: Path) -> None:
        """Write the item tables, and the graphs that rank with them."""
        tensors = folder / contract.TENSORS
        try:
            prepared = item_tables.prepare(tensors, self.scorer, self.split)
        except NotSeparable as reason:  # a side is NaN or infinity in some row; the probe ran for a few rows only
            tensors.unlink()
            self.split, note = _fall_back(self.scorer, reason)
            self.notes.append(note)
            prepared = item_tables.prepare(tensors, self.scorer, self.split)
        ranking_graphs.write(folder, prepared)

    def golden(self) -> Golden:
        """The golden sample, with the framework's own scores."""
        return dot_model.golden_sample(self.reference)

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused if the graphs differ from the model."""
        figures = parity.check(folder, self.reference)
        return {**figures, "framework_pairs": figures["pairs"], "framework_largest_difference": figures["largest_difference"]}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How many operators the model has, and how many of them run for each pair, as the manifest has it."""
        pair_nodes = live_nodes(self.split.programs.nodes[PAIR], [str(self.split.score)])
        return {"formula": None, "operators": len(self.scorer.source.network.nodes), "operators_per_pair": len(pair_nodes)}


def prepare(scorer: PairScorer, similarity: str | None) -> DotExport | PairExport:
    """The model as a dot model if its score is one dot product, otherwise as a ranker.

    Raises ExportRefused if items can't be ranked by the model, or if it has no vectors for `similarity`.
    """
    network = scorer.source.network
    refuse_random(network)
    refuse_coupled(network, scorer.feeds, scorer.user_count, scorer.item_count)
    try:
        split = evaluate(network, _probe(scorer), scorer.source.user)
        if isinstance(split.score, DotProductScore):
            return _as_dot(scorer, split, split.score, similarity)
        notes: list[str] = []
    except NotSeparable as reason:
        split, note = _fall_back(scorer, reason)
        notes = [note]
    if similarity in ("cosine", "dot"):
        raise ExportRefused(
            f"similarity {similarity} needs a user and an item vector, and this model is more than one dot product of them: "
            "leave similarity out, or choose model"
        )
    return PairExport(scorer, split, notes)


def _probe(scorer: PairScorer) -> Probe:
    """A probe of the scorer's graph; raises ExportRefused if the graph mixes the pairs of a batch."""
    probe = run_probe(scorer.source.network, scorer.feeds, scorer.user_count, scorer.item_count)
    refuse_mixed(scorer.source.network, probe)
    return probe


def _fall_back(scorer: PairScorer, reason: NotSeparable) -> tuple[SplitScorer, str]:
    """The model with all of its operators in the pair program, and a warning that gives the reason."""
    split = fallback(scorer.source.network, _probe(scorer), scorer.source.user)
    return split, f"the model can't be taken apart ({reason}): all of it runs for every item, in tiles"


def _as_dot(scorer: PairScorer, split: SplitScorer, vectors: DotProductScore, similarity: str | None) -> DotExport:
    """The scorer as a dot model, with the vectors of both sides as its tables."""
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
