"""What comes of reading a scorer's graph."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from recoserve.errors import ExportRefused
from recoserve_export.graph import monotone_tail
from recoserve_export.graph.network import Network
from recoserve_export.partial.values import ITEM, USER, Programs


class NotApart(Exception):
    """The graph can't be read this way; the model still scores pairs as it is. The message says what stands in the way."""


@dataclass(frozen=True)
class Vectors:
    """One dot product: the pieces of both sides' vectors, values of their programs; None for a 1 that meets the other's piece.

    `plain` tells that they are the model's own two vectors, with no weight or bias absorbed.
    """

    pieces: tuple[tuple[str | None, str | None], ...]
    plain: bool


@dataclass(frozen=True)
class Evaluated:
    """The programs of both sides and of pairs; `score` is a pair's number in front of `tail`: a float32 value, or a dot product."""

    programs: Programs
    score: str | Vectors
    tail: monotone_tail.Tail


def refuse_one_sided(sides: Collection[str]) -> None:
    """Raise ExportRefused where the score looks at no more than these sides, and one is missing."""
    if not sides:
        raise ExportRefused("the model gives every pair the same score: it looks at neither the user nor the item")
    for side, other in ((USER, ITEM), (ITEM, USER)):
        if other not in sides:
            raise ExportRefused(
                f"the model's score depends on the {side} alone, so that every user would get one order of items or none: "
                f"does its graph leave the {other}'s input out?"
            )


def graph_holder(network: Network) -> onnx.NodeProto | None:
    """A node with a graph of its own: a loop or a branch."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return next((node for node in network.nodes if any(each.type in graphs for each in node.attribute)), None)
