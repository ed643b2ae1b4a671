"""Whether a module is plainly two Embeddings and one dot product: then its tables are read, at any size, without a graph."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, Table, check_tables, check_widths, recognise
from recoserve_export.sources.tables import float_table
from recoserve_export.sources.torch_call import Call


def check_parts(torch: Any, model: Any) -> None:
    """Raise ExportRefused for weights that are too coarse to compare, and for tables that change on lookup."""
    for name, part in model.named_modules():
        if getattr(part, "max_norm", None) is not None:
            raise ExportRefused(f"embedding {name!r} has max_norm, which changes rows on lookup: renormalise, and set it to None")
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise ExportRefused(f"{name!r} is {weight.dtype}, too coarse for a parity check: export model.float()")


def two_widths(torch: Any, model: Any) -> str | None:
    """What is wrong with the module's Embeddings, if they are two of different widths and it is meant to multiply them."""
    tables = _embeddings(torch, model)
    if len(tables) != 2:
        return None
    (first, one), (second, other) = sorted(tables.items(), key=lambda entry: "user" not in entry[0].lower())
    try:
        check_widths(("user", first, one.embedding_dim), ("item", second, other.embedding_dim))
    except ExportRefused as refusal:
        return str(refusal)
    return None


def read(call: Call, name: str, digest: str | None) -> DotSource | None:
    """The module as two tables, where a closed form of them explains its score; raises ExportRefused for tables unfit to serve."""
    tables = _embeddings(call.torch, call.model)
    if set(call.inputs) != {call.user, call.item} or len(tables) != 2 or len({part.embedding_dim for part in tables.values()}) != 1:
        return None
    sides = _assign(tables, call)
    if sides is None:
        return None
    users, items = (_table(tables, side) for side in sides)
    check_tables(users, items)
    found = DotSource(
        framework="torch",
        versions={"torch": call.torch.__version__},
        name=name,
        users=users,
        items=items,
        scores=lambda user_rows, item_rows: call.scores({call.user: user_rows, call.item: item_rows}),
        digest=digest,
    )
    try:
        recognise(found)
    except ExportRefused:
        return None
    return found


def _embeddings(torch: Any, model: Any) -> dict[str, Any]:
    return {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)}


def _assign(tables: dict[str, Any], call: Call) -> tuple[str, str] | None:
    """Which Embedding is looked up with the user's rows and which with the item's, seen in one run of the model."""
    if min(part.num_embeddings for part in tables.values()) < 2:
        return None
    rows = {"user": np.array([0, 1, 1]), "item": np.array([1, 0, 1])}
    seen: dict[str, str] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(_module: Any, arguments: tuple[Any, ...]) -> None:
            looked_up = arguments[0].detach().cpu().numpy().reshape(-1)
            seen.update({side: name for side, expected in rows.items() if np.array_equal(looked_up, expected)})

        return note

    with ExitStack() as stack:
        for name, part in tables.items():
            stack.enter_context(_hooked(part, watch(name)))
        call.scores({call.user: rows["user"], call.item: rows["item"]})
    return (seen["user"], seen["item"]) if len(set(seen.values())) == 2 else None


@contextmanager
def _hooked(part: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = part.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _table(tables: dict[str, Any], name: str) -> Table:
    return float_table(name, tables[name].weight.detach().cpu().numpy())
