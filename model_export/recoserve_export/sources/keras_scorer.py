"""A Keras model that scores pairs: what it takes by name, its own forward, and its graph."""

import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, Input, Network

Model = Any  # a keras.Model; only the files that load Keras name its classes

EXACT = ("float32", "float64")
FUNCTIONAL = (
    "build a functional model around it, with one keras.Input for the user's rows, one for the item's and one for each feature: "
    "keras.Model([user, item], model([user, item]))"
)
SMALLEST_BATCH = 5
KERAS_NAMES = {  # operations of torch under the names that Keras calls them by, and under those that torch's exporter knows
    "multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "true_divide": "div",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
}


def step(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that a tensor comes from, and the tensors that this one call of it took."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def kind(operation: Any) -> str:
    """The name of an operation's class."""
    return type(operation).__name__


def inputs(model: Model) -> dict[str, Any]:
    """The model's inputs by name; raises ExportRefused where it has no graph, or fewer than two inputs."""
    tensors = getattr(model, "inputs", None) or []
    if not tensors or not getattr(model, "outputs", None):
        raise ExportRefused(f"the Keras model {model.name!r} is subclassed or unbuilt and has no graph to read: {FUNCTIONAL}")
    found = {step(tensor)[0].name: tensor for tensor in tensors}
    if len(found) < 2:
        raise ExportRefused(f"the Keras model has one input alone ({', '.join(found)}); it must have two or more: {FUNCTIONAL}")
    for name, tensor in found.items():
        if tensor.dtype == "string":
            raise ExportRefused(f"input {name!r} takes text: export the part of the model behind its lookup, which takes rows")
        if None in tensor.shape[1:]:
            raise ExportRefused(
                f"input {name!r} takes rows of any length: give them one, with keras.Input((n,)), and fill short rows up"
            )
    return found


def check(model: Model, ids: Mapping[str, Any]) -> None:
    """Raise ExportRefused unless the model gives one score for each row of `ids`, in float32 or float64."""
    outputs = model.outputs
    if len(outputs) != 1:
        listing = ", ".join(repr(step(tensor)[0].name) for tensor in outputs)
        raise ExportRefused(
            f"the Keras model has {len(outputs)} outputs ({listing}); it must give one, the score: "
            "export keras.Model(model.inputs, score)"
        )
    for name, tensor in ids.items():
        if any(size != 1 for size in tensor.shape[1:]):
            raise ExportRefused(f"input {name!r} takes {list(tensor.shape[1:])} ids at a time; it must take one in each row")
    if any(size != 1 for size in outputs[0].shape[1:]):
        maker = step(outputs[0])[0]
        raise ExportRefused(
            f"{kind(maker)} {maker.name!r} gives {list(outputs[0].shape[1:])} numbers in place of one score for each pair "
            "(a Dot over another axis, a Flatten too few?)"
        )
    _check_precision(model)


def _check_precision(model: Model) -> None:
    for layer in model._flatten_layers():
        for what, dtype in (("computes in", layer.compute_dtype), ("keeps weights as", layer.variable_dtype)):
            if dtype not in EXACT:
                raise ExportRefused(
                    f"layer {layer.name!r} {what} {dtype}, too coarse for a parity check: "
                    "set keras.config.set_dtype_policy('float32') and load the weights into the model built anew"
                )


def forward(keras: Any, model: Model) -> Callable[[Arrays], Float64Array]:
    """The model's own score of each row, in inference mode: each input's values by name, [P] or [P, *shape] -> float64 [P]."""

    def scores(values: Arrays) -> Float64Array:
        count = len(next(iter(values.values())))
        with _no_gradients(keras):
            found = keras.ops.convert_to_numpy(
                _call(keras, model, {name: _tensor(keras, each, values[name]) for name, each in taken})
            )
        if found.size != count:
            raise ExportRefused(f"the Keras model gives {found.size / count:g} scores per pair; it must give one")
        return np.asarray(found, np.float64).reshape(count)

    taken = inputs(model).items()
    return scores


def _tensor(keras: Any, tensor: Any, values: NDArray[Any]) -> Any:
    return keras.ops.convert_to_tensor(np.asarray(values).reshape(-1, *tensor.shape[1:]), dtype=tensor.dtype)


def _call(keras: Any, model: Model, values: Mapping[str, Any]) -> Any:
    """Run the model in inference mode; its inputs, and its one output, may be in a list or a dictionary."""
    given = keras.tree.map_structure(lambda tensor: values[step(tensor)[0].name], model.input)
    (scores,) = keras.tree.flatten(model(given, training=False))
    return scores


def _no_gradients(keras: Any) -> Any:
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


def trace(keras: Any, model: Model) -> Network:
    """The model's graph, under its inputs' own names; raises ExportRefused where it can't be traced."""
    if keras.backend.backend() != "torch":
        raise ExportRefused(
            f"Keras runs on {keras.backend.backend()} here, where only a dot product of two Embeddings can be exported: "
            "save this model as .keras, and export the file with KERAS_BACKEND=torch"
        )
    from recoserve_export.sources import torch

    tensors = inputs(model)
    names = {name if _is_plain(name) else f"input_of_pairs_{place}": name for place, name in enumerate(tensors)}
    examples = _examples(keras, model, {safe: tensors[name] for safe, name in names.items()})
    with _as_it_was(model):
        found = torch.trace(_module(keras, model, names), examples)
    return _renamed(found, {safe: name for safe, name in names.items() if safe != name})


def _is_plain(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and name != "self"


def _module(keras: Any, model: Model, names: Mapping[str, str]) -> Any:
    """The model as a torch module whose forward takes its inputs by name."""
    import torch

    # Where a whole number meets a float, torch's exporter casts it for operations of the names that it knows, and for no others.
    plain = {getattr(torch, name): getattr(torch, known) for name, known in KERAS_NAMES.items()}

    class PlainNames(torch.overrides.TorchFunctionMode):  # type: ignore[misc]  # untyped
        def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            if function is torch.pow and all(isinstance(each, torch.Tensor) for each in given):
                given = [each.to(torch.result_type(*given)) for each in given]  # or 2 to the power of 0.5 would be a whole number
            return plain.get(function, function)(*given, **(named or {}))

    class Scorer(torch.nn.Module):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **values: Any) -> Any:
            with PlainNames():
                scores = _call(keras, self.model, {name: values[safe] for safe, name in names.items()})
            return scores.flatten(1) if scores.ndim > 2 else scores

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [inspect.Parameter(safe, inspect.Parameter.KEYWORD_ONLY) for safe in names]
    Scorer.forward.__signature__ = inspect.Signature([own, *named])  # type: ignore[attr-defined]  # torch.export reads it
    return Scorer().eval()


def _examples(keras: Any, model: Model, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """A tensor of its own for each input: one that is passed twice would be traced as one input. No two have a value in common."""
    sizes = {
        size for shape in (*(each.shape for each in model.weights), *(each.shape for each in tensors.values())) for size in shape
    }
    batch = next(size for size in range(SMALLEST_BATCH, SMALLEST_BATCH + len(sizes) + 1) if size not in sizes)
    found, first = {}, 0
    for name, tensor in tensors.items():
        shape = (batch, *tensor.shape[1:])
        found[name] = keras.ops.convert_to_tensor(np.arange(first, first + np.prod(shape)).reshape(shape), dtype=tensor.dtype)
        first += int(np.prod(shape))
    return found


@contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """Give every part of the model back the mode that it had."""
    modes = {part: part.training for part in model.modules()}
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _renamed(network: Network, names: Mapping[str, str]) -> Network:
    """The same graph with some inputs under other names."""
    if not names:
        return network
    nodes = []
    for node in network.nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(each, each) for each in node.input]
        nodes.append(copy)
    found = {names.get(name, name): Input(names.get(name, name), each.dtype, each.shape) for name, each in network.inputs.items()}
    return Network(tuple(nodes), network.constants, found, network.output, network.opset)
