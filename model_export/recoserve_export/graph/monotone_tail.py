"""The monotone tail: the strictly increasing functions, such as a sigmoid, that a model applies to its score as its final steps.

They don't change the order of the items, so they can run after the top-k, on k scores instead of on all. In floating point they may
still make equal scores of different ones: a sigmoid is exactly 1 for every large input. Ranks are therefore those before the tail.
"""

from dataclasses import dataclass

from recoserve.bundle.arrays import Float64Array
from recoserve_export.graph import operators


@dataclass(frozen=True)
class TailStep:
    """One ONNX operator: `Add` of `constant`, `Mul` by `constant` > 0, or a strictly increasing function without a constant."""

    operator: str
    constant: float = 0.0

    @property
    def is_identity(self) -> bool:
        """True if the step returns its input unchanged: it adds 0 or multiplies by 1."""
        return (self.operator, self.constant) in (("Add", 0.0), ("Mul", 1.0))

    def apply(self, values: Float64Array) -> Float64Array:
        """The step's results in float64, of the shape of `values`.

        Raises ValueError if the operator is neither Add nor Mul nor a function that operators.py lists as strictly increasing. The
        sign of a `Mul` is not checked here: `partial/output_activation.py` makes no step of a factor that isn't positive.
        """
        if self.operator == "Mul":
            return values * self.constant
        if self.operator == "Add":
            return values + self.constant
        function = operators.properties(self.operator).increasing_function
        if function is None:
            raise ValueError(f"{self.operator} is not strictly increasing")
        return function(values)

    def formula(self, argument: str) -> str:
        """The step as a formula of `argument`, such as `0.5 * dot`."""
        if self.operator == "Mul":
            return f"{self.constant:.6g} * {argument}"
        return f"({argument} {self.constant:+.6g})" if self.operator == "Add" else f"{self.operator.lower()}({argument})"


Tail = tuple[TailStep, ...]  # in the order in which they run: the first step takes the score before the tail
SIGMOID: Tail = (TailStep("Sigmoid"),)


def apply_tail(tail: Tail, values: Float64Array) -> Float64Array:
    """The scores that the tail makes of `values`, in float64 and of their shape."""
    for step in tail:
        values = step.apply(values)
    return values


def tail_formula(tail: Tail, argument: str) -> str:
    """The tail as a formula of `argument`, such as `sigmoid(dot)`."""
    for step in tail:
        argument = step.formula(argument)
    return argument
