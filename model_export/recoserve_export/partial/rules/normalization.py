"""Batch normalization. Others reduce a row; exporters write them as one operator without a rule, or as several with rules."""

import numpy as np

from recoserve_export.partial import algebra
from recoserve_export.partial.rules.call import OperatorCall, Rewrite, rule
from recoserve_export.partial.values import Constant


@rule("BatchNormalization")
def batch_normalization(call: OperatorCall) -> Rewrite:
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta = x * s + (beta - mean * s)`, `s = gamma / sqrt(variance + epsilon)`.

    Condition: all parameters are constants, as in inference; rows of one axis, whose positions are the channels.
    """
    value, parameters = call.inputs[0], [call.constant(index) for index in range(1, 5)]
    if value is None or len(call.row_shape) != 1 or any(parameter is None for parameter in parameters):
        return None
    # In float64, rounded once at the end: the shift may be a small difference of two large numbers.
    gamma, beta, mean, variance = (np.asarray(parameter, np.float64) for parameter in parameters)
    factor = gamma / np.sqrt(variance + call.attribute("epsilon", 1e-5))
    scaled = algebra.scale(call.builder, value, factor.astype(call.dtype))
    shift = Constant((beta - mean * factor).astype(call.dtype))
    return algebra.add(call.builder, [scaled, shift], call.row_shape) if scaled is not None else None
