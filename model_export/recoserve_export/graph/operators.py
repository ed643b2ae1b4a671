"""The table of ONNX operators: every property that the export relies on, one row for each operator that any of its rules knows.

Add an operator here first: a test runs it in ONNX Runtime and checks every property claimed of it. An empty column claims nothing,
and an operator without a row has no properties: it runs as it stands, for every pair.

There is no column for "mixes the rows of a batch", because that is no property of an operator: Softmax over a row is harmless and
Softmax over the batch is not. `partial/probe.py` measures it instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recoserve.bundle.arrays import Float64Array

FloatFunction = Callable[[Float64Array], Float64Array]


def sigmoid(values: Float64Array) -> Float64Array:
    """1 / (1 + exp(-x)); the exponent is never positive, so that it can't overflow."""
    exponentials = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, exponentials) / (1.0 + exponentials)


@dataclass(frozen=True)
class Operator:
    """One row of the table; `max_inputs` is None for a variadic operator, whose inputs are all like its first.

    `elementwise`: each number of the result depends only on the numbers at its own position.
    `broadcasts`: elementwise, and its inputs broadcast to one shape by NumPy's rules.
    `affine`: the positions of the inputs in which the result is a linear map plus a constant, if these inputs are floats and all
    others are constants.
    `increasing_function`: the same function in float64, if the operator is a strictly increasing function of one number.
    `keeps_numbers`: the result holds the first input's numbers in their order; its shape or dtype may be another.
    `changes_dtype`: the result may have another dtype than the inputs, such as the booleans of a comparison.
    `content_inputs`: it reads the numbers of this many leading inputs alone, of the others only the shape or the dtype; None if it
    reads the numbers of all.
    `batch_placeholder`: the number that its second input, a shape, may hold instead of the batch size, so that it fits any batch.
    `lookup`: takes rows of its first input by the indices in its second.
    `identity_of_one`: returns its input unchanged if it has only one.
    `random`: draws numbers.
    """

    name: str
    min_inputs: int = 1
    max_inputs: int | None = 1
    elementwise: bool = False
    broadcasts: bool = False
    affine: tuple[int, ...] = ()
    increasing_function: FloatFunction | None = None
    keeps_numbers: bool = False
    changes_dtype: bool = False
    content_inputs: int | None = None
    batch_placeholder: int | None = None
    lookup: bool = False
    identity_of_one: bool = False
    random: bool = False


_ROWS = (
    # one number in, one number out
    Operator("Abs", elementwise=True),
    Operator("Celu", elementwise=True),
    Operator("Clip", 1, 3, elementwise=True),
    Operator("Elu", elementwise=True),
    Operator("Erf", elementwise=True),
    Operator("Exp", elementwise=True, increasing_function=np.exp),
    Operator("Gelu", elementwise=True),
    Operator("HardSigmoid", elementwise=True),
    Operator("HardSwish", elementwise=True),
    Operator("LeakyRelu", elementwise=True),
    Operator("Log", elementwise=True),
    Operator("Mish", elementwise=True),
    Operator("Neg", elementwise=True, affine=(0,)),
    Operator("Reciprocal", elementwise=True),
    Operator("Relu", elementwise=True),
    Operator("Selu", elementwise=True),
    Operator("Sigmoid", elementwise=True, increasing_function=sigmoid),
    Operator("Softplus", elementwise=True),
    Operator("Softsign", elementwise=True),
    Operator("Sqrt", elementwise=True),
    Operator("Tanh", elementwise=True, increasing_function=np.tanh),
    Operator("ThresholdedRelu", elementwise=True),
    # several numbers in, one number out
    Operator("Add", 2, 2, elementwise=True, broadcasts=True, affine=(0, 1)),
    Operator("And", 2, 2, elementwise=True, broadcasts=True),
    Operator("Div", 2, 2, elementwise=True, broadcasts=True, affine=(0,)),
    Operator("Equal", 2, 2, elementwise=True, broadcasts=True, changes_dtype=True),
    Operator("Greater", 2, 2, elementwise=True, broadcasts=True, changes_dtype=True),
    Operator("GreaterOrEqual", 2, 2, elementwise=True, broadcasts=True, changes_dtype=True),
    Operator("Less", 2, 2, elementwise=True, broadcasts=True, changes_dtype=True),
    Operator("LessOrEqual", 2, 2, elementwise=True, broadcasts=True, changes_dtype=True),
    Operator("Max", 1, None, elementwise=True, broadcasts=True, identity_of_one=True),
    Operator("Mean", 1, None, elementwise=True, broadcasts=True, affine=(0,), identity_of_one=True),
    Operator("Min", 1, None, elementwise=True, broadcasts=True, identity_of_one=True),
    Operator("Mod", 2, 2, elementwise=True, broadcasts=True),
    Operator("Mul", 2, 2, elementwise=True, broadcasts=True, affine=(0, 1)),
    Operator("Or", 2, 2, elementwise=True, broadcasts=True),
    Operator("Pow", 2, 2, elementwise=True, broadcasts=True),
    Operator("Sub", 2, 2, elementwise=True, broadcasts=True, affine=(0, 1)),
    Operator("Sum", 1, None, elementwise=True, broadcasts=True, affine=(0,), identity_of_one=True),
    Operator("Where", 3, 3, elementwise=True, broadcasts=True, affine=(1, 2)),
    Operator("Xor", 2, 2, elementwise=True, broadcasts=True),
    # the same numbers, in another shape or dtype
    Operator("Cast", elementwise=True, keeps_numbers=True, changes_dtype=True),
    Operator("CastLike", 2, 2, changes_dtype=True, content_inputs=1),
    Operator("Flatten", affine=(0,), keeps_numbers=True),
    Operator("Identity", elementwise=True, affine=(0,), keeps_numbers=True, identity_of_one=True),
    Operator("Reshape", 2, 2, affine=(0,), keeps_numbers=True, batch_placeholder=-1),
    Operator("Squeeze", 1, 2, affine=(0,), keeps_numbers=True),
    Operator("Unsqueeze", 2, 2, affine=(0,), keeps_numbers=True),
    # numbers that are picked, joined or repeated
    Operator("Concat", 1, None, affine=(0,), identity_of_one=True),
    Operator("Dropout", 1, 3, affine=(0,)),
    Operator("Expand", 2, 2, affine=(0,), batch_placeholder=1),
    Operator("Gather", 2, 2, affine=(0,), lookup=True),
    Operator("GatherND", 2, 2, affine=(0,), lookup=True),
    Operator("Slice", 3, 5, affine=(0,)),
    Operator("Split", 1, 2, affine=(0,)),
    Operator("Transpose", affine=(0,)),
    # sums of products
    Operator("BatchNormalization", 5, 5, affine=(0, 1, 2, 3)),
    Operator("Einsum", 1, None, affine=(0,)),
    Operator("Gemm", 2, 3, affine=(0, 1, 2)),
    Operator("MatMul", 2, 2, affine=(0, 1)),
    Operator("ReduceMean", 1, 2, affine=(0,)),
    Operator("ReduceSum", 1, 2, affine=(0,)),
    # shapes
    Operator("Shape", content_inputs=0, changes_dtype=True),
    Operator("Size", content_inputs=0, changes_dtype=True),
    # random numbers
    Operator("Bernoulli", random=True),
    Operator("Multinomial", random=True),
    Operator("RandomNormal", 0, 0, random=True),
    Operator("RandomNormalLike", random=True),
    Operator("RandomUniform", 0, 0, random=True),
    Operator("RandomUniformLike", random=True),
)
OPERATORS = {operator.name: operator for operator in _ROWS}


def properties(name: str) -> Operator:
    """The operator's row; if the table has none, a row that claims nothing."""
    return OPERATORS.get(name) or Operator(name, 0, None)


def names(has: Callable[[Operator], bool]) -> frozenset[str]:
    """The names of the operators whose row passes the test."""
    return frozenset(operator.name for operator in _ROWS if has(operator))


RESHAPES = names(lambda operator: operator.keeps_numbers and not operator.elementwise)
UNARY = names(lambda operator: operator.elementwise and operator.max_inputs == 1 and not operator.changes_dtype)
