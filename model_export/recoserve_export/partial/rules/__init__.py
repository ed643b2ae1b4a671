"""The rules of partial evaluation: how an operator is rewritten so that the user's and the item's side stay apart.

A rule returns the value of the operator's output (a list of values if it has several outputs), or None if its condition doesn't
hold. Then the operator runs as it stands for every pair, which is always right, but slower. To add a rule, decorate a function with
`@rule` in one of these files, or in a new one that is imported here; its test belongs in the file of the same name under `tests/`.
"""

from recoserve_export.partial.rules import concat, elementwise, matmul, normalization, products, reductions, reshapes, sums
from recoserve_export.partial.rules.call import RULES, OperatorCall, Rewrite, Rule

__all__ = [
    "RULES",
    "OperatorCall",
    "Rewrite",
    "Rule",
    "concat",
    "elementwise",
    "matmul",
    "normalization",
    "products",
    "reductions",
    "reshapes",
    "sums",
]
