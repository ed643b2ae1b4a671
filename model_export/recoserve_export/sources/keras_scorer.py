"""Checks a Keras model that scores pairs, and gives its inputs by name and a function that runs it."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays
from recoserve_export.sources import torch

KerasModel = Any  # a keras.Model: to name the class would import Keras

PRECISE_DTYPES = ("float32", "float64")
FUNCTIONAL_ADVICE = (
    "build a functional model around it, with one keras.Input for the user's rows, one for the item's and one for each feature: "
    "keras.Model([user, item], model([user, item]))"
)


def producer(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that computed a tensor, and the tensors that it was called with for this one."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def class_name(operation: Any) -> str:
    """The name of an operation's class, such as `Embedding`."""
    return type(operation).__name__


def input_tensors(model: KerasModel) -> dict[str, Any]:
    """The model's inputs by name.

    Raises ExportRefused if the model has no graph or fewer than two inputs, and if an input takes text or rows of any length.
    """
    tensors = getattr(model, "inputs", None) or []
    if not tensors or not getattr(model, "outputs", None):
        raise ExportRefused(f"the Keras model {model.name!r} is subclassed or unbuilt and has no graph: {FUNCTIONAL_ADVICE}")
    by_name = {producer(tensor)[0].name: tensor for tensor in tensors}
    if len(by_name) < 2:
        raise ExportRefused(f"the Keras model has only one input, {', '.join(by_name)}; it must have two: {FUNCTIONAL_ADVICE}")
    for name, tensor in by_name.items():
        if tensor.dtype == "string":
            raise ExportRefused(f"input {name!r} takes text: export the part of the model after its text lookup, which takes rows")
        if None in tensor.shape[1:]:
            raise ExportRefused(f"input {name!r} takes rows of any length: fix it with keras.Input((n,)), and pad shorter rows")
    return by_name


def check_scorer(model: KerasModel, side_tensors: Mapping[str, Any]) -> None:
    """Raise ExportRefused unless the model takes one user id and one item id a row and gives one score, in float32 or float64.

    `side_tensors` are the inputs of the user and of the item, by name.
    """
    outputs = model.outputs
    if len(outputs) != 1:
        listing = ", ".join(repr(producer(tensor)[0].name) for tensor in outputs)
        raise ExportRefused(
            f"the Keras model has {len(outputs)} outputs ({listing}); it must give one, the score: "
            "export keras.Model(model.inputs, score)"
        )
    for name, tensor in side_tensors.items():
        if any(size != 1 for size in tensor.shape[1:]):
            raise ExportRefused(f"input {name!r} takes {list(tensor.shape[1:])} ids at a time; it must take one in each row")
    if any(size != 1 for size in outputs[0].shape[1:]):
        layer = producer(outputs[0])[0]
        raise ExportRefused(
            f"{class_name(layer)} {layer.name!r} gives {list(outputs[0].shape[1:])} numbers instead of one score for each pair "
            "(a Dot over another axis, a Flatten too few?)"
        )
    _check_precision(model)


def _check_precision(model: KerasModel) -> None:
    for layer in model._flatten_layers():
        for use, dtype in (("computes in", layer.compute_dtype), ("keeps weights as", layer.variable_dtype)):
            if dtype not in PRECISE_DTYPES:
                raise ExportRefused(
                    f"layer {layer.name!r} {use} {dtype}, too coarse for a parity check: "
                    "set keras.config.set_dtype_policy('float32') and load the weights into the model built anew"
                )


def forward(keras: Any, model: KerasModel) -> Callable[[Arrays], Float64Array]:
    """A function from values by input name, [P] or [P, *shape], to the model's own scores, float64 [P].

    It runs the model in inference mode, without gradients, and raises ExportRefused if the model doesn't give a score for each row.
    """
    inputs = input_tensors(model)

    def scores(values: Arrays) -> Float64Array:
        count = len(next(iter(values.values())))
        tensors = {name: _tensor(keras, declared, values[name]) for name, declared in inputs.items()}
        with torch.no_gradients() if keras.backend.backend() == "torch" else nullcontext():
            array = keras.ops.convert_to_numpy(call(keras, model, tensors))
        if array.size != count:
            raise ExportRefused(f"the Keras model gives {array.size / count:g} scores per pair; it must give one")
        return np.asarray(array, np.float64).reshape(count)

    return scores


def _tensor(keras: Any, declared: Any, values: NDArray[Any]) -> Any:
    return keras.ops.convert_to_tensor(np.asarray(values).reshape(-1, *declared.shape[1:]), dtype=declared.dtype)


def call(keras: Any, model: KerasModel, tensors: Mapping[str, Any]) -> Any:
    """The tensor of scores that the model gives in inference mode, for a tensor for each input, by its name.

    The model may take its inputs, and give its one output, in a list or a dictionary.
    """
    arguments = keras.tree.map_structure(lambda tensor: tensors[producer(tensor)[0].name], model.input)
    (scores,) = keras.tree.flatten(model(arguments, training=False))
    return scores
