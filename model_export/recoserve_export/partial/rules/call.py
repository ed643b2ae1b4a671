"""One operator of the model's graph, as its rule sees it; and the registry of rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from recoserve_export.partial.builder import ProgramBuilder
from recoserve_export.partial.values import Constant, RowShape, Value


@dataclass(frozen=True)
class OperatorCall:
    """One node: the values of its inputs (None for one that is left out), and the row shape and dtype of its first output."""

    builder: ProgramBuilder
    node: onnx.NodeProto
    inputs: tuple[Value | None, ...]
    row_shape: RowShape
    dtype: np.dtype[Any]

    @property
    def is_float(self) -> bool:
        """Whether the output is a float. Rules of arithmetic don't hold for integers: they overflow, and their division rounds."""
        return np.issubdtype(self.dtype, np.floating)

    def scalar(self, number: float) -> NDArray[Any]:
        """A number in the output's dtype."""
        return np.asarray(number, self.dtype)

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute of the node; `default` if the node doesn't have it."""
        return next((helper.get_attribute_value(entry) for entry in self.node.attribute if entry.name == name), default)

    def input(self, index: int) -> Value | None:
        """The value of an input; None if the input is left out, at the end or in between."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> NDArray[Any] | None:
        """The array of a constant input; None if the input isn't constant or is left out."""
        value = self.input(index)
        return value.array if isinstance(value, Constant) else None

    def broadcastable_constant(self, index: int) -> NDArray[Any] | None:
        """The array of a constant input in a shape that broadcasts with the rows of the output; None if it isn't constant."""
        value = self.input(index)
        return value.broadcastable(len(self.row_shape)) if isinstance(value, Constant) else None

    def reduced_axes(self, row_rank: int) -> tuple[int, ...] | None:
        """The axes of a reduction of rows with `row_rank` axes, as negative numbers.

        None if the reduction names no axes, which means all of them, or if the axis of the pairs is among them.
        """
        named_axes = self.constant(1) if len(self.inputs) > 1 else self.attribute("axes")
        rank = row_rank + 1  # with the axis of the pairs, -rank
        axes = tuple(int(axis) % rank - rank for axis in named_axes) if named_axes is not None else ()
        return axes if axes and -rank not in axes else None


Rewrite = Value | list[Value] | None
Rule = Callable[[OperatorCall], Rewrite]
RULES: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """A decorator that registers a function as the rule of some operators; raises ValueError if one of them has a rule already."""

    def register(function: Rule) -> Rule:
        for operator in operators:
            if operator in RULES:
                raise ValueError(f"{operator} has two rules: {RULES[operator].__name__} and {function.__name__}")
            RULES[operator] = function
        return function

    return register
