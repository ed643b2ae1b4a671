"""A model as a graph of ONNX operators: nodes in running order, constants, inputs for ids and features, one output of scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array

Arrays = Mapping[str, NDArray[Any]]  # by name
Node = Any  # an onnx.NodeProto: to name the type would import onnx, and every command would wait for it


@dataclass(frozen=True)
class Input:
    """One input of a network: the `dtype` that the graph takes, and the `shape` of one row: () for [B], (1,) for [B, 1]."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    def batch(self, values: NDArray[Any]) -> NDArray[Any]:
        """`values`, [B] or [B, *shape], in the dtype and shape that the graph takes: [B, *shape]."""
        return np.require(values, self.dtype).reshape(len(values), *self.shape)


@dataclass(frozen=True)
class Network:
    """A graph of standard ONNX operators, without functions of its own: they have been inlined.

    `nodes` are in an order in which they can run. `constants` are never copied: a table may be a memory map or the framework's own
    memory. `output` has one score for each row of the inputs, [B] or [B, 1].
    """

    nodes: tuple[Node, ...]
    constants: Arrays
    inputs: Mapping[str, Input]
    output: str
    opset: int


@dataclass(frozen=True)
class GraphSource:
    """A model of any architecture that scores pairs: its graph, and the framework's own forward.

    `user` and `item` name the two inputs that take ids; every other input of the network is a feature of the item.
    `scores` takes the values of each input by name, [P] or [P, *shape], and returns the framework's scores in inference mode,
    float64 [P]. `digest` is the SHA-256 of the source file; `notes` are warnings for the export's report.
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
