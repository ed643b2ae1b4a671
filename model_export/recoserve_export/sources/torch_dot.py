"""Recognises modules that are plainly two Embeddings and one dot product, so that their tables are read without a graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, EmbeddingTable, check_tables, check_widths, recognise
from recoserve_export.sources.tables import float_table
from recoserve_export.sources.torch_call import ForwardCall


def check_weights(torch: Any, model: Any) -> None:
    """Raise ExportRefused for weights that are too coarse for a parity check, and for tables that a lookup changes."""
    for name, module in model.named_modules():
        if getattr(module, "max_norm", None) is not None:
            raise ExportRefused(f"embedding {name!r} has max_norm, which changes rows on lookup: renormalise, and set it to None")
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise ExportRefused(f"{name!r} is {weight.dtype}, too coarse for a parity check: export model.float()")


def width_mismatch(torch: Any, model: Any) -> str | None:
    """A sentence that says so if the module's Embeddings are two of different widths; None otherwise."""
    embeddings = _embeddings(torch, model)
    if len(embeddings) != 2:
        return None
    (user_name, user), (item_name, item) = sorted(embeddings.items(), key=lambda entry: "user" not in entry[0].lower())
    try:
        check_widths((user_name, user.embedding_dim), (item_name, item.embedding_dim))
    except ExportRefused as refusal:
        return str(refusal)
    return None


def read(call: ForwardCall, name: str, digest: str | None) -> DotSource | None:
    """The module as two tables, if one of the known formulas of them explains its score; None for every other module.

    Raises ExportRefused for tables that can't be served.
    """
    embeddings = _embeddings(call.torch, call.model)
    widths = {embedding.embedding_dim for embedding in embeddings.values()}
    if set(call.inputs) != {call.user, call.item} or len(embeddings) != 2 or len(widths) != 1:
        return None
    sides = _embeddings_of_sides(embeddings, call)
    if sides is None:
        return None
    users, items = (_table(side, embeddings[side]) for side in sides)
    check_tables(users, items)
    source = DotSource(
        framework="torch",
        versions={"torch": call.torch.__version__},
        name=name,
        users=users,
        items=items,
        scores=lambda user_rows, item_rows: call.scores({call.user: user_rows, call.item: item_rows}),
        digest=digest,
    )
    try:
        recognise(source)
    except ExportRefused:
        return None
    return source


def _embeddings(torch: Any, model: Any) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)}


def _embeddings_of_sides(embeddings: Mapping[str, Any], call: ForwardCall) -> tuple[str, str] | None:
    """The names of the Embeddings that are looked up by the user's and by the item's rows; None unless there is one for each."""
    # Neither their names nor their order in the module say which is which. So forward runs once, on rows that differ between the
    # sides, with a hook on each Embedding that notes by which side's rows it is called.
    if min(embedding.num_embeddings for embedding in embeddings.values()) < 2:
        return None
    rows = {"user": np.array([0, 1, 1]), "item": np.array([1, 0, 1])}
    name_by_side: dict[str, str] = {}

    def watch(name: str) -> Callable[..., None]:
        def note_side(_module: Any, arguments: tuple[Any, ...]) -> None:
            looked_up = arguments[0].detach().cpu().numpy().reshape(-1)
            name_by_side.update({side: name for side, side_rows in rows.items() if np.array_equal(looked_up, side_rows)})

        return note_side

    with ExitStack() as stack:
        for name, embedding in embeddings.items():
            stack.enter_context(_hooked(embedding, watch(name)))
        call.scores({call.user: rows["user"], call.item: rows["item"]})
    return (name_by_side["user"], name_by_side["item"]) if len(set(name_by_side.values())) == 2 else None


@contextmanager
def _hooked(module: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _table(name: str, embedding: Any) -> EmbeddingTable:
    return float_table(name, embedding.weight.detach().cpu().numpy())
