"""Finds how many users and items a model knows: the rows of the tables that its graph looks up by the user and the item input."""

from collections.abc import Mapping

from recoserve.errors import ExportRefused
from recoserve_export.graph import operators
from recoserve_export.graph.network import GraphSource, Network, Node

MAX_FLOAT32_ID = 1 << 24  # a float32 holds every whole number up to here, and not the next one


def row_counts(network: Network) -> dict[str, int]:
    """For each input, by name, the length of the smallest table that the graph looks up by the input's own numbers.

    An input that looks up no table is left out, and so is one that is changed before the lookup, as in `table[id % 1000]`: the rows
    of such a table aren't ids.
    """
    input_of_value = {name: name for name in network.inputs}  # value -> the input whose numbers it holds unchanged
    producers = {name: node for node in network.nodes for name in node.output}
    counts: dict[str, int] = {}
    for node in network.nodes:
        source = _unchanged_source(node, producers)
        if source in input_of_value:
            input_of_value[node.output[0]] = input_of_value[source]
        table = network.constants.get(node.input[0]) if operators.properties(node.op_type).lookup else None
        # An index along another axis than the first picks columns, which says nothing of the number of rows.
        by_column = any(attribute.name in ("axis", "batch_dims") and attribute.i for attribute in node.attribute)
        if table is None or not table.ndim or by_column:
            continue
        name = input_of_value.get(node.input[1])
        if name:
            counts[name] = min(counts.get(name, len(table)), len(table))
    return counts


def _unchanged_source(node: Node, producers: Mapping[str, Node]) -> str | None:
    """The name of the value whose ids the node's output holds unchanged; None if the node changes them.

    Exporters let negative indices count from the end, by `Where(Less(ids, 0), ids + rows, ids)`. No id is negative, so this gives
    `ids` itself.
    """
    if operators.properties(node.op_type).keeps_numbers:
        return str(node.input[0])
    condition = producers.get(node.input[0]) if node.op_type == "Where" else None
    if condition is not None and condition.op_type == "Less" and condition.input[0] == node.input[2]:
        return str(node.input[2])
    return None


def side_counts(source: GraphSource) -> dict[str, int | None]:
    """The number of rows of "user" and of "item" in the model's own tables; None for a side that looks up no table by its ids.

    Raises ExportRefused if a side's ids are float32 and its table has more rows than a float32 can tell apart.
    """
    counts = row_counts(source.network)
    for side, name in (("user", source.user), ("item", source.item)):
        if source.network.inputs[name].dtype.kind == "f" and counts.get(name, 0) > MAX_FLOAT32_ID:
            raise ExportRefused(
                f"the {side} input {name!r} takes ids as float32, which is exact up to 2^24 only, and its table has {counts[name]} "
                "rows: declare the input with dtype int64"
            )
    return {"user": counts.get(source.user), "item": counts.get(source.item)}
