"""Reads PyTorch models: a live module, a state_dict with the code that builds its module, or a file that holds a module."""

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
from recoserve_export.sources.torch_call import FeatureWidths, ForwardCall, find_call, inference

if TYPE_CHECKING:
    import torch

SCRIPT_OPSET = 18
NO_FEATURES: FeatureWidths = MappingProxyType({})


def load(
    path: Path,
    architecture: str | None,
    user: str | None = None,
    item: str | None = None,
    features: FeatureWidths = NO_FEATURES,
    trust: bool = False,
) -> DotSource | GraphSource:
    """The module of a file as a source.

    A file of weights needs `architecture`, package.module:callable, which builds its module; a file that runs code when it is
    loaded needs `trust`. The other arguments are those of `from_module`. Raises ExportRefused for any other file, and as
    `from_module` does.
    """
    torch, digest = import_torch(), file_digest(path)
    content = torch_files.read(torch, path, trust)
    if not isinstance(content, torch.nn.Module):
        model = _module_with_weights(torch, path, torch_files.weights(torch, path, content), architecture)
    elif architecture:
        raise ExportRefused(f"{path} holds a module of its own: leave --architecture out")
    else:
        model = content
    return from_module(model, user, item, features, name=path.stem, digest=digest)


def from_module(
    model: "torch.nn.Module",
    user: str | None = None,
    item: str | None = None,
    features: FeatureWidths = NO_FEATURES,
    name: str | None = None,
    digest: str | None = None,
) -> DotSource | GraphSource:
    """A live module as a source.

    `user` and `item` name the parameters of its forward that take ids, if their names don't show it. Every other parameter without
    a default is a feature of the item, and so is each of `features`. The module is left unchanged: its training mode is restored,
    and no gradient is recorded. Raises ExportRefused for a module that doesn't score pairs or can't be traced.
    """
    torch = import_torch()
    model = _unwrapped(torch, model)
    name = name or type(model).__name__
    torch_dot.check_weights(torch, model)
    try:
        call = find_call(torch, model, user, item, features)
    except ExportRefused as refusal:
        mismatch = torch_dot.width_mismatch(torch, model) if refusal.__cause__ is not None else None
        if mismatch:  # forward failed, and this is its most likely reason
            raise ExportRefused(f"{mismatch}. {refusal}") from refusal
        raise
    return torch_dot.read(call, name, digest) or _graph_source(torch, call, name, digest)


def _unwrapped(torch: Any, model: Any) -> Any:
    """The module inside the wrappers of torch.compile and of parallel training; any other module itself."""
    model = getattr(model, "_orig_mod", model)
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return _unwrapped(torch, model.module) if isinstance(model, parallel) else model


def _graph_source(torch: Any, call: ForwardCall, name: str, digest: str | None) -> GraphSource:
    with inference(torch, call.model):
        network = trace(call.model, call.examples())
    versions = {"torch": torch.__version__}
    return GraphSource("torch", versions, name, network, call.user, call.item, call.scores, digest)


def trace(module: "torch.nn.Module", examples: Mapping[str, "torch.Tensor"]) -> Network:
    """The graph of a module in eval mode, whose constants are the module's own memory.

    `examples` has a tensor for each parameter of forward that is passed. No two tensors may be equal, and all have the same number
    of rows, 2 or more, which is no other size in the module. Raises ExportRefused, with torch's reason, for a module that can't be
    traced.
    """
    torch, onnx = import_torch(), _import_onnx()
    export = _export_script if isinstance(module, torch.jit.ScriptModule) else _export
    with _quiet(), torch.no_grad():
        try:
            model, constants = export(torch, module, examples)
        except Exception as error:  # of any type: the module's own code may fail, too
            raise ExportRefused(f"torch.onnx.export can't read the module: {_reason(error)}") from error
    network: Network = onnx.read_network(model, constants)
    return network


def _export(torch: Any, module: Any, examples: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    rows = {name: {0: torch.export.Dim.DYNAMIC} for name in examples}
    # Not optimised, because torch's optimizer drops an `Add(norm, 1e-10)`, after which the cosine of a zero vector is NaN.
    program = torch.onnx.export(module, (), kwargs=dict(examples), dynamo=True, optimize=False, verbose=False, dynamic_shapes=rows)
    weights = program.model.graph.initializers
    constants = {name: value.const_value.numpy() for name, value in weights.items()}
    weights.clear()  # otherwise they would be copied into the model that is returned
    return program.model_proto, constants


def _export_script(torch: Any, module: Any, examples: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A TorchScript module as an ONNX model; only torch's older exporter takes such a module."""
    body, rows = BytesIO(), {name: {0: "batch"} for name in examples}
    # The exporter runs the module on these arguments: zeros, since every table has a row 0.
    arguments = tuple(torch.zeros_like(example) for example in examples.values())
    torch.onnx.export(
        module, arguments, body, dynamo=False, input_names=list(examples), dynamic_axes=rows, opset_version=SCRIPT_OPSET
    )
    return _import_onnx().parse("the TorchScript module", body.getvalue()), {}


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause's message: torch wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return f"{type(error).__name__}: {lines[0][:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings, log lines and dumps of graphs, since users can't act on them."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _module_with_weights(torch: Any, path: Path, state: Mapping[str, Any], architecture: str | None) -> Any:
    """The module that `architecture` builds, with the weights of a file, or ExportRefused if they don't fit."""
    if architecture is None:
        raise ExportRefused(
            f"{path} holds weights and no model: pass --architecture package.module:callable, "
            "a function without arguments that builds the module"
        )
    model = _build_module(torch, architecture)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ExportRefused(f"{path} doesn't fit the module that {architecture} builds: {' '.join(str(error).split())}") from None
    return model


def _build_module(torch: Any, architecture: str) -> Any:
    module_name, _, attribute = architecture.partition(":")
    if not (module_name and attribute):
        raise ExportRefused(f"--architecture {architecture!r} must be package.module:callable")
    torch_files.find_modules_here()
    try:
        model = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:  # the user's own code may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ExportRefused(f"--architecture {architecture} must be importable and take no arguments; {reason}") from error
    if not isinstance(model, torch.nn.Module):
        raise ExportRefused(f"--architecture {architecture} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def no_gradients() -> Any:
    """A context in which torch records no gradients."""
    return import_torch().no_grad()


def import_torch() -> Any:
    """The torch package; raises ExportRefused, with the way to install it, if it is missing."""
    try:
        import torch
    except ImportError as error:
        raise ExportRefused(f"needs torch ({error}): pip install 'recoserve[torch]'") from None
    return torch


def _import_onnx() -> Any:
    """The file that reads ONNX models, which imports the onnx package."""
    try:
        from recoserve_export.sources import onnx
    except ImportError as error:
        raise ExportRefused(f"needs onnx ({error}): pip install 'recoserve[export]'") from None
    return onnx
