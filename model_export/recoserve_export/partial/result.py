"""The result of partial evaluation: a scorer, split into the programs of its two sides and of pairs."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from recoserve.errors import ExportRefused
from recoserve_export.graph.monotone_tail import Tail
from recoserve_export.graph.network import Network
from recoserve_export.partial.builder import ProgramBuilder
from recoserve_export.partial.values import ITEM, USER


class NotSeparable(Exception):
    """The graph can't be split into sides; the message names the operator that prevents it.

    The export isn't refused: it can still run the complete graph for every pair (`fallback.py`).
    """


@dataclass(frozen=True)
class DotProductScore:
    """A score that is one dot product of a user's and an item's vector, each the concatenation of its side's factors.

    `factors` are pairs of names, of a value of the user program and of one of the item program. A None stands for the number 1, by
    which the other side's factor is added to the score: a bias of the user is (bias, None). `uses_own_embeddings` is True if the
    vectors are the model's own two embeddings, with no weight multiplied into them.
    """

    factors: tuple[tuple[str | None, str | None], ...]
    uses_own_embeddings: bool


@dataclass(frozen=True)
class SplitScorer:
    """The three programs; `score`, before the `tail`, is a dot product or the name of a float32 value of the pair program."""

    programs: ProgramBuilder
    score: str | DotProductScore
    tail: Tail


def one_sided_error(sides: Collection[str]) -> ExportRefused:
    """The error for a score that depends on `sides` only, at most one of the two."""
    if not sides:
        return ExportRefused("the model gives every pair the same score, which depends neither on the user nor on the item")
    side, missing = (USER, ITEM) if USER in sides else (ITEM, USER)
    consequence = "every item gets the same score" if side == USER else "every user gets the same ranking"
    return ExportRefused(
        f"the model's score depends on the {side} alone, so {consequence}: does its graph leave the {missing}'s input out?"
    )


def node_with_subgraph(network: Network) -> onnx.NodeProto | None:
    """The first node that contains a subgraph, such as a loop or a branch; None if there is none."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return next((node for node in network.nodes if any(attribute.type in graphs for attribute in node.attribute)), None)
