"""What comes of reading a scorer's graph."""

from dataclasses import dataclass

import onnx

from model_export import tail
from model_export.network import Network
from model_export.partial.forms import Programs


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
    tail: tail.Tail


def graph_holder(network: Network) -> onnx.NodeProto | None:
    """A node with a graph of its own: a loop or a branch."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return next((node for node in network.nodes if any(each.type in graphs for each in node.attribute)), None)
