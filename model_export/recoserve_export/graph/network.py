"""A model as an opened graph: nodes in order, constants by name, inputs that take ids, one output with a score for each row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array

Arrays = Mapping[str, NDArray[Any]]
Node = Any  # an onnx.NodeProto; naming it would load onnx with the command line


@dataclass(frozen=True)
class Input:
    """One input of a network: `dtype` as the graph takes it; `shape` of one row, () for [B] and (1,) for [B, 1]."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    def batch(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value a row, [B] or [B, *shape], as the graph takes it: [B, *shape]."""
        return np.require(values, self.dtype).reshape(len(values), *self.shape)


@dataclass(frozen=True)
class Network:
    """A graph of standard ONNX operators, without subgraphs of its own making.

    `nodes` in the order of their running; `constants` are never copied, so that a table may be a memory map or the framework's
    own memory; `output` has one score a row, [B] or [B, 1].
    """

    nodes: tuple[Node, ...]
    constants: Arrays
    inputs: Mapping[str, Input]
    output: str
    opset: int


@dataclass(frozen=True)
class GraphSource:
    """A model of any shape that scores pairs: its graph, and the framework's own forward.

    `user` and `item` name the two inputs that take rows; every other input of the network is a feature of the item.
    `scores` takes each input's values by name, [P] or [P, *shape], and gives the framework's scores float64 [P], in inference mode.
    `notes` are what the report has to tell.
    """

    framework: str
    versions: Mapping[str, str]
    name: str
    network: Network
    user: str
    item: str
    scores: Callable[[Arrays], Float64Array]
    digest: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs that are features of the item."""
        return tuple(name for name in self.network.inputs if name not in (self.user, self.item))
