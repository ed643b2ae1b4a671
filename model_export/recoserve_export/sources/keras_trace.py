"""Traces the graph of a Keras model through torch, Keras' backend."""

import inspect
import keyword
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Input, Network
from recoserve_export.sources import torch as torch_source
from recoserve_export.sources.keras_scorer import KerasModel, call, input_tensors

MIN_BATCH = 5  # rows of the tensors that a model is traced with
TORCH_NAMES = {  # of torch's functions: the name that Keras calls -> another name of the same, which torch's exporter knows
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


def trace(keras: Any, model: KerasModel) -> Network:
    """The model's graph, whose inputs have the model's own names; raises ExportRefused if it can't be traced."""
    if keras.backend.backend() != "torch":
        raise ExportRefused(
            f"Keras runs on {keras.backend.backend()} here, where only a dot product of two Embeddings can be exported: "
            "save this model as .keras, and export the file with KERAS_BACKEND=torch"
        )
    tensors = input_tensors(model)
    # Keras allows inputs called "user-id" or "class", torch only names of Python: others are traced under a new name and renamed.
    names = {name if _is_parameter_name(name) else f"input_of_pairs_{index}": name for index, name in enumerate(tensors)}
    examples = _examples(keras, model, {parameter: tensors[name] for parameter, name in names.items()})
    with _modes_restored(model):
        network = torch_source.trace(_as_module(keras, model, names), examples)
    return _renamed(network, {parameter: name for parameter, name in names.items() if parameter != name})


def _is_parameter_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and name != "self"


def _as_module(keras: Any, model: KerasModel, names: Mapping[str, str]) -> Any:
    """The model as a torch module whose forward takes its inputs by name."""
    torch = torch_source.import_torch()
    # Between an integer and a float, torch's exporter casts the integer only for functions under the names that it knows.
    known_functions = {getattr(torch, name): getattr(torch, known) for name, known in TORCH_NAMES.items()}

    class KnownNames(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]  # torch is a value here
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.pow and all(isinstance(argument, torch.Tensor) for argument in args):
                args = [argument.to(torch.result_type(*args)) for argument in args]  # or 2 to the power of 0.5 would be an integer
            return known_functions.get(function, function)(*args, **(kwargs or {}))

    class Scorer(torch.nn.Module):  # type: ignore[misc, name-defined]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **values: Any) -> Any:
            with KnownNames():
                scores = call(keras, self.model, {name: values[parameter] for parameter, name in names.items()})
            return scores.flatten(1) if scores.ndim > 2 else scores

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    Scorer.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # torch.export reads it
    return Scorer().eval()


def _examples(keras: Any, model: KerasModel, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """A tensor for each input; all values differ, since two inputs with equal tensors would be traced as one input."""
    shapes = [variable.shape for variable in (*model.weights, *tensors.values())]
    sizes = {size for shape in shapes for size in shape}
    # If the batch were as long as another axis, the exporter could confuse the two.
    batch = next(size for size in range(MIN_BATCH, MIN_BATCH + len(sizes) + 1) if size not in sizes)
    examples, start = {}, 0
    for name, tensor in tensors.items():
        shape = (batch, *tensor.shape[1:])
        stop = start + int(np.prod(shape))
        examples[name] = keras.ops.convert_to_tensor(np.arange(start, stop).reshape(shape), dtype=tensor.dtype)
        start = stop
    return examples


@contextmanager
def _modes_restored(model: Any) -> Iterator[None]:
    """On exit, give every layer of the model its own training mode back."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _renamed(network: Network, names: Mapping[str, str]) -> Network:
    """The network with its inputs renamed, from the keys to the values of `names`."""
    if not names:
        return network
    nodes = []
    for node in network.nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        nodes.append(copy)
    declared = [Input(names.get(name, name), old.dtype, old.shape) for name, old in network.inputs.items()]
    return Network(tuple(nodes), network.constants, {new.name: new for new in declared}, network.output, network.opset)
