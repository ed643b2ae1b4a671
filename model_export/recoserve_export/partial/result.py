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
    """The graph can't be split into sides; the message says which operator is in the way.

    It is no refusal: the model can still be ranked with by running all of its graph for every pair (`fallback.py`).
    """


@dataclass(frozen=True)
class DotProductScore:
    """A score that is one dot product of a user's and an item's vector, each the factors of its side one after the other.

    `factors` are names of values of the user program and of the item program; None stands for a 1, by which the other side's factor
    is added to the score: a bias of the user is (bias, None). `plain`: they are the model's own two embeddings, unweighted.
    """

    factors: tuple[tuple[str | None, str | None], ...]
    plain: bool


@dataclass(frozen=True)
class SplitScorer:
    """The three programs; `score`, before the `tail`, is a dot product or a float32 value of the pair program."""

    programs: ProgramBuilder
    score: str | DotProductScore
    tail: Tail


def refuse_one_sided(sides: Collection[str]) -> None:
    """Raise ExportRefused if the score depends on these sides only, and one is missing."""
    if not sides:
        raise ExportRefused("the model gives every pair the same score: it looks at neither the user nor the item")
    for side, other in ((USER, ITEM), (ITEM, USER)):
        if other not in sides:
            raise ExportRefused(
                f"the model's score depends on the {side} alone, so that every user would get one order of items or none: "
                f"does its graph leave the {other}'s input out?"
            )


def node_with_subgraph(network: Network) -> onnx.NodeProto | None:
    """The first node that has a graph of its own, a loop or a branch; None if there is none."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return next((node for node in network.nodes if any(attribute.type in graphs for attribute in node.attribute)), None)
