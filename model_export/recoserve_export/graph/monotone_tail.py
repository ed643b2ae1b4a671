"""The monotone tail: strictly increasing functions of one number that a model applies to its score last.

They change scores and never their order. So they run after the top-k, on k numbers, in place of once for each item.
"""

from dataclasses import dataclass

from recoserve.bundle.arrays import Float64Array
from recoserve_export.graph import operators


@dataclass(frozen=True)
class TailStep:
    """One ONNX operator: `Add` of a `constant`, `Mul` by a positive one, or a function that operators.py calls increasing."""

    operator: str
    constant: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether every number stays what it is."""
        return (self.operator, self.constant) in (("Add", 0.0), ("Mul", 1.0))

    def apply(self, values: Float64Array) -> Float64Array:
        """The function's values, in float64; raises ValueError if the operator is no function of a tail."""
        if self.operator == "Mul":
            return values * self.constant
        if self.operator == "Add":
            return values + self.constant
        function = operators.properties(self.operator).increasing
        if function is None:
            raise ValueError(f"{self.operator} is not strictly increasing")
        return function(values)

    def written(self, argument: str) -> str:
        """The step as a formula of `argument`, such as `0.5 * dot`."""
        if self.operator == "Mul":
            return f"{self.constant:.6g} * {argument}"
        return f"({argument} {self.constant:+.6g})" if self.operator == "Add" else f"{self.operator.lower()}({argument})"


Tail = tuple[TailStep, ...]
SIGMOID: Tail = (TailStep("Sigmoid"),)


def apply(tail: Tail, values: Float64Array) -> Float64Array:
    """The scores that the tail makes of `values`, in float64."""
    for step in tail:
        values = step.apply(values)
    return values


def written(tail: Tail, argument: str) -> str:
    """The tail as a formula of `argument`, such as `sigmoid(dot)`."""
    for step in tail:
        argument = step.written(argument)
    return argument
