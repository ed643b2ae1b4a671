"""Functions of one number, such as Relu, on a concatenation."""

from recoserve_export.graph import operators
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.values import PAIR, Concatenation, Operand, SideValue

# Affine operators have rules of their own, for more than concatenations. Pow has two inputs, and is a function of the first if the
# second is constant.
FUNCTIONS = operators.names(lambda operator: operator.elementwise and not operator.broadcasts and not operator.affine)


@rule(*FUNCTIONS, "Pow")
def elementwise(call: OperatorCall) -> Rewrite:
    """`f([u, i]) = [f(u), f(i)]`.

    Condition: a concatenation; all further inputs, such as the bounds of Clip, are constants of one number, so that every operand
    gets the same. There is no such rule for sums and products: `f(u + i)` is no function of `f(u)` and `f(i)`.
    """
    value = call.inputs[0]
    parameters = [call.constant(index) for index in range(1, len(call.inputs)) if call.inputs[index] is not None]
    if not isinstance(value, Concatenation) or any(parameter is None or parameter.size > 1 for parameter in parameters):
        return None
    # The programs share their constants, so a constant has the same name in each.
    names = [call.builder.materialise(parameter) if parameter is not None else "" for parameter in call.inputs[1:]]
    operands: list[Operand] = []
    for operand in value.operands:
        if isinstance(operand, SideValue):
            name = call.builder.copy_with_new_output(operand.side, call.node, [operand.name, *names])
            operands.append(SideValue(operand.side, name, operand.row_shape))
        else:
            name = call.builder.copy_with_new_output(PAIR, call.node, [call.builder.materialise(operand), *names])
            operands.append(call.builder.pair_value(name, operand.row_shape))
    return Concatenation(tuple(operands), value.row_shape, value.axis)
