"""PyTorch models: a live module, or a state_dict and the code that builds its module."""

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.network import GraphSource, Network
from recoserve_export.sources import torch_dot, torch_files
from recoserve_export.sources.tables import file_digest
from recoserve_export.sources.torch_call import Call, Widths, describe, inference

if TYPE_CHECKING:
    import torch

SCRIPT_OPSET = 18
NO_FEATURES: Widths = MappingProxyType({})


def load(
    path: Path,
    architecture: str | None,
    user: str | None = None,
    item: str | None = None,
    features: Widths = NO_FEATURES,
    trust: bool = False,
) -> DotSource | GraphSource:
    """A state_dict and `package.module:callable`, which builds its module; with `trust`, a file that holds a module of its own.

    Raises ExportRefused; a file whose loading runs code is not loaded without `trust`.
    """
    torch, digest = _torch(), file_digest(path)
    found = torch_files.read(torch, path, trust)
    if not isinstance(found, torch.nn.Module):
        found = _built(torch, path, torch_files.weights(torch, path, found), architecture)
    elif architecture:
        raise ExportRefused(f"{path} holds a module of its own: leave --architecture out")
    return from_module(found, user, item, features, name=path.stem, digest=digest)


def from_module(
    model: "torch.nn.Module",
    user: str | None = None,
    item: str | None = None,
    features: Widths = NO_FEATURES,
    name: str | None = None,
    digest: str | None = None,
) -> DotSource | GraphSource:
    """A live module; `user` and `item` name parameters of its forward where their own names don't tell. Raises ExportRefused.

    Every other parameter without a default is a feature of the item, and so is each of `features`. The module comes back as it
    was: its training mode is restored, and no gradient is recorded.
    """
    torch = _torch()
    model = _unwrapped(torch, model)
    name = name or type(model).__name__
    torch_dot.check_parts(torch, model)
    try:
        call = describe(torch, model, user, item, features)
    except ExportRefused as refusal:
        widths = torch_dot.two_widths(torch, model) if refusal.__cause__ is not None else None
        if widths:  # forward failed, and this is the likeliest reason of all
            raise ExportRefused(f"{widths}. {refusal}") from refusal
        raise
    return torch_dot.read(call, name, digest) or _source(torch, call, name, digest)


def _unwrapped(torch: Any, model: Any) -> Any:
    """The module that torch.compile or a parallel wrapper stands around."""
    model = getattr(model, "_orig_mod", model)
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return _unwrapped(torch, model.module) if isinstance(model, parallel) else model


def _source(torch: Any, call: Call, name: str, digest: str | None) -> GraphSource:
    with inference(torch, call.model):
        network = trace(call.model, call.examples())
    versions = {"torch": torch.__version__}
    return GraphSource("torch", versions, name, network, call.user, call.item, call.scores, digest)


def trace(module: "torch.nn.Module", examples: Mapping[str, "torch.Tensor"]) -> Network:
    """The graph of a module in eval mode; its weights stay the module's own memory.

    `examples` has one tensor for each parameter of forward that is fed, of distinct values, all with the same number of rows: 2 or
    more, and no other size in the module. Raises ExportRefused, with torch's reason, where the module can't be traced.
    """
    torch, onnx = _torch(), _onnx()
    traced = _script_graph if isinstance(module, torch.jit.ScriptModule) else _graph
    with _quiet(), torch.no_grad():
        try:
            model, constants = traced(torch, module, examples)
        except Exception as error:  # torch's own reason may lie several causes deep, and the module's own code may fail in any way
            raise ExportRefused(f"torch.onnx.export can't read the module: {_reason(error)}") from error
    network: Network = onnx.network(model, constants)
    return network


def _graph(torch: Any, module: Any, examples: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    rows = {name: {0: torch.export.Dim.DYNAMIC} for name in examples}
    program = torch.onnx.export(module, (), kwargs=dict(examples), dynamo=True, optimize=False, verbose=False, dynamic_shapes=rows)
    weights = program.model.graph.initializers
    constants = {name: value.const_value.numpy() for name, value in weights.items()}
    weights.clear()  # or they would be written into the model that is given back
    return program.model_proto, constants


def _script_graph(torch: Any, module: Any, examples: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """TorchScript has no other way to ONNX than the one it always had."""
    body, rows = BytesIO(), {name: {0: "batch"} for name in examples}
    given = tuple(torch.zeros_like(each) for each in examples.values())  # it runs on them, so that they must be rows that there are
    torch.onnx.export(module, given, body, dynamo=False, input_names=list(examples), dynamic_axes=rows, opset_version=SCRIPT_OPSET)
    return _onnx().parsed(body.getvalue()), {}


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


def _built(torch: Any, path: Path, state: Mapping[str, Any], architecture: str | None) -> Any:
    """The module that `architecture` builds, with the weights of a file."""
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
    return model


def _build(torch: Any, architecture: str) -> Any:
    module, colon, attribute = architecture.partition(":")
    if not (module and colon and attribute):
        raise ExportRefused(f"--architecture {architecture!r} must be package.module:callable")
    torch_files.find_modules_here()
    try:
        model = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # the user's own code may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ExportRefused(f"--architecture {architecture} must be importable and take no arguments; {reason}") from error
    if not isinstance(model, torch.nn.Module):
        raise ExportRefused(f"--architecture {architecture} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ExportRefused(f"needs torch ({error}): pip install 'recoserve[torch]'") from None
    return torch


def _onnx() -> Any:
    try:
        from recoserve_export.sources import onnx
    except ImportError as error:
        raise ExportRefused(f"needs onnx ({error}): pip install 'recoserve[export]'") from None
    return onnx
