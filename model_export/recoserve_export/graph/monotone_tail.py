"""What a model does to a score last, where it can change no order: a strictly increasing function of one number."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recoserve.bundle.arrays import Float64Array


def sigmoid(values: Float64Array) -> Float64Array:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


FUNCTIONS: dict[str, Callable[[Float64Array], Float64Array]] = {"Sigmoid": sigmoid, "Tanh": np.tanh, "Exp": np.exp}


@dataclass(frozen=True)
class Step:
    """One ONNX operator: a name of `FUNCTIONS`, or `Mul` by a positive `constant`, or `Add` of one."""

    operator: str
    constant: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return (self.operator, self.constant) in (("Add", 0.0), ("Mul", 1.0))

    def apply(self, values: Float64Array) -> Float64Array:
        """Float64 in, float64 out."""
        if self.operator == "Mul":
            return values * self.constant
        return values + self.constant if self.operator == "Add" else FUNCTIONS[self.operator](values)

    def written(self, inner: str) -> str:
        """The step behind `inner`, as people write it."""
        if self.operator == "Mul":
            return f"{self.constant:.6g} * {inner}"
        return f"({inner} {self.constant:+.6g})" if self.operator == "Add" else f"{self.operator.lower()}({inner})"


Tail = tuple[Step, ...]
SIGMOID: Tail = (Step("Sigmoid"),)


def finish(tail: Tail, values: Float64Array) -> Float64Array:
    """The scores that belong to the numbers in front of the tail."""
    for step in tail:
        values = step.apply(values)
    return values


def written(tail: Tail, inner: str) -> str:
    """`sigmoid(dot)`, and the like."""
    for step in tail:
        inner = step.written(inner)
    return inner
