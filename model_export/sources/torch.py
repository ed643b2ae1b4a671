"""PyTorch models of two Embeddings and a dot product: a live module, or a state_dict and the code that builds its module."""

import importlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_export.formula import DotSource, Rows, Scores, Table, check_tables, check_widths
from model_export.sources.tables import file_digest, float_table, pick_sides
from service.errors import ExportRefused

if TYPE_CHECKING:
    import torch

    from model_export.network import Network

REMEDY = "Pass --user-input NAME and --item-input NAME"


def load(path: Path, architecture: str | None, user: str | None = None, item: str | None = None) -> DotSource:
    """A state_dict and `package.module:callable`, which builds the module it belongs to; raises ExportRefused."""
    torch, digest = _torch(), file_digest(path)
    state = _state(torch, path)
    if architecture is None:
        raise ExportRefused(
            f"{path} holds weights and no model: pass --architecture package.module:callable, "
            "a function without arguments that builds the module"
        )
    model = _build(torch, architecture)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ExportRefused(f"{path} doesn't fit the module that {architecture} builds: {' '.join(str(error).split())}") from None
    return from_module(model, user, item, name=path.stem, digest=digest)


def from_module(
    model: "torch.nn.Module", user: str | None = None, item: str | None = None, name: str | None = None, digest: str | None = None
) -> DotSource:
    """A live module; `user` and `item` name parameters of its forward where their own names don't tell. Raises ExportRefused.

    The module comes back as it was: its training mode is restored, and no gradient is recorded.
    """
    torch = _torch()
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    tables = _embeddings(torch, model)
    sides = _parameters(model, user, item)
    scores = _forward(torch, model, sides)
    user_table, item_table = _assign(tables, scores)
    users, items = _table(tables, user_table), _table(tables, item_table)
    check_tables(users, items)
    return DotSource(
        framework="torch",
        versions={"torch": torch.__version__},
        name=name or type(model).__name__,
        users=users,
        items=items,
        scores=scores,
        digest=digest,
    )


def trace(module: "torch.nn.Module", examples: Mapping[str, "torch.Tensor"]) -> "Network":
    """The graph of a module in eval mode; its weights stay the module's own memory.

    `examples` has one tensor for each parameter of forward that is fed, of distinct values, all with the same number of rows: 2 or
    more, and no other size in the module. Raises ExportRefused, with torch's reason, where the module can't be traced.
    """
    torch = _torch()
    try:
        from model_export.sources import onnx
    except ImportError as error:
        raise ExportRefused(f"needs onnx ({error}): pip install 'recoserve[export]'") from None
    rows = {name: {0: torch.export.Dim.DYNAMIC} for name in examples}
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module, (), kwargs=dict(examples), dynamo=True, optimize=False, verbose=False, dynamic_shapes=rows
            )
        except Exception as error:  # torch's own reason may lie several causes deep, and the module's own code may fail in any way
            raise ExportRefused(f"torch.onnx.export can't read the module: {_reason(error)}") from error
    weights = program.model.graph.initializers
    constants = {name: value.const_value.numpy() for name, value in weights.items()}
    weights.clear()  # or the weights would be written into the model that is read here
    return onnx.network(program.model_proto, constants)


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return f"{type(error).__name__}: {lines[0][:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter writes of its own workings: warnings, log lines and whole graphs that a user can do nothing about."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ExportRefused(f"needs torch ({error}): pip install 'recoserve[torch]'") from None
    return torch


def _state(torch: Any, path: Path) -> dict[str, Any]:
    """The weights of the file; a checkpoint that keeps them under a name of its own is opened."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in ways of torch's own choosing, struct.error among them
        raise ExportRefused(
            f"{path}: refused, since it is not a plain state_dict. Either it is damaged, or it holds a whole pickled module, "
            "whose loading would run code from the file: save model.state_dict() instead"
        ) from error
    for wrapper in ("state_dict", "model_state_dict"):
        state = state[wrapper] if isinstance(state, dict) and isinstance(state.get(wrapper), dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ExportRefused(f"{path}: not a state_dict (names to tensors): save model.state_dict()")
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    return state


def _build(torch: Any, architecture: str) -> "torch.nn.Module":
    module, colon, attribute = architecture.partition(":")
    if not (module and colon and attribute):
        raise ExportRefused(f"--architecture {architecture!r} must be package.module:callable")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script starts without the folder it was started in
    try:
        model = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # the user's own code may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ExportRefused(f"--architecture {architecture} must be importable and take no arguments; {reason}") from error
    if not isinstance(model, torch.nn.Module):
        raise ExportRefused(f"--architecture {architecture} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _embeddings(torch: Any, model: "torch.nn.Module") -> dict[str, Any]:
    """The module's two Embeddings by name, of equal widths; raises ExportRefused for any other number or kind."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag))}
    listing = ", ".join(f"{name} {type(part).__name__}{list(part.weight.shape)}" for name, part in found.items()) or "none"
    if len(found) != 2 or not all(isinstance(part, torch.nn.Embedding) for part in found.values()):
        raise ExportRefused(f"a dot model has exactly two nn.Embedding, users and items, and no bias table; found: {listing}")
    for name, part in found.items():
        if part.max_norm is not None:
            raise ExportRefused(f"embedding {name!r} has max_norm, which changes rows on lookup: renormalise, and set it to None")
        if part.weight.dtype not in (torch.float32, torch.float64):
            raise ExportRefused(f"embedding {name!r} is {part.weight.dtype}, too coarse for a parity check: export model.float()")
    (first, one), (second, other) = sorted(found.items(), key=lambda entry: "user" not in entry[0].lower())
    check_widths(("user", first, one.embedding_dim), ("item", second, other.embedding_dim))
    return found


def _parameters(model: "torch.nn.Module", user: str | None, item: str | None) -> tuple[str, str]:
    parameters = inspect.signature(model.forward).parameters.values()
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    needed = [each.name for each in parameters if each.name in names and each.default is each.empty]
    sides = pick_sides("parameters of forward", names, user, item, REMEDY)
    if beyond := set(needed) - set(sides):
        raise ExportRefused(f"forward also needs {', '.join(sorted(beyond))}; a dot model takes a user and an item alone")
    return sides


def _assign(tables: dict[str, Any], scores: Callable[[Rows, Rows], Scores]) -> tuple[str, str]:
    """Which Embedding is looked up with the user's rows and which with the item's, seen in one run of the model."""
    if min(part.num_embeddings for part in tables.values()) < 2:
        return pick_sides("embeddings", list(tables), None, None, "Name them after their sides")
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
        scores(rows["user"], rows["item"])
    if len(set(seen.values())) != 2:
        raise ExportRefused(f"forward doesn't look up one row in each of {', '.join(tables)}: the model is not a dot model")
    return seen["user"], seen["item"]


@contextmanager
def _hooked(part: Any, hook: Callable[..., None]) -> Iterator[None]:
    handle = part.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _table(tables: dict[str, Any], name: str) -> Table:
    return float_table(name, tables[name].weight.detach().cpu().numpy())


def _forward(torch: Any, model: "torch.nn.Module", sides: tuple[str, str]) -> Callable[[Rows, Rows], Scores]:
    device = next(model.parameters()).device

    def scores(user_rows: Rows, item_rows: Rows) -> Scores:
        inputs = {name: torch.from_numpy(rows.copy()).to(device) for name, rows in zip(sides, (user_rows, item_rows), strict=True)}
        with _inference(torch, model):
            try:
                answer = model(**inputs)
            except Exception as error:  # the user's own code may fail in any way
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise ExportRefused(f"forward failed on two int64 tensors of {len(user_rows)} rows each: {reason}") from error
        if not isinstance(answer, torch.Tensor) or answer.numel() != len(user_rows):
            shape = list(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise ExportRefused(f"forward gives {shape} for {len(user_rows)} pairs; a dot model gives one score per pair")
        flat: Scores = answer.detach().cpu().double().numpy().reshape(-1)
        return flat

    return scores


@contextmanager
def _inference(torch: Any, model: "torch.nn.Module") -> Iterator[None]:
    """Run in eval mode without gradients; every part gets back the mode it had."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
