"""A Keras model that scores pairs: its inputs by name, and its own forward."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays
from recoserve_export.sources import torch

KerasModel = Any  # a keras.Model; only the files that load Keras name its classes

PRECISE = ("float32", "float64")
FUNCTIONAL = (
    "build a functional model around it, with one keras.Input for the user's rows, one for the item's and one for each feature: "
    "keras.Model([user, item], model([user, item]))"
)


def producer(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that a tensor comes from, and the tensors that this one call of it took."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def class_name(operation: Any) -> str:
    """The name of an operation's class, such as `Embedding`."""
    return type(operation).__name__


def input_tensors(model: KerasModel) -> dict[str, Any]:
    """The model's inputs by name; raises ExportRefused where it has no graph, or fewer than two inputs."""
    tensors = getattr(model, "inputs", None) or []
    if not tensors or not getattr(model, "outputs", None):
        raise ExportRefused(f"the Keras model {model.name!r} is subclassed or unbuilt and has no graph to read: {FUNCTIONAL}")
    by_name = {producer(tensor)[0].name: tensor for tensor in tensors}
    if len(by_name) < 2:
        raise ExportRefused(f"the Keras model has one input alone ({', '.join(by_name)}); it must have two or more: {FUNCTIONAL}")
    for name, tensor in by_name.items():
        if tensor.dtype == "string":
            raise ExportRefused(f"input {name!r} takes text: export the part of the model behind its lookup, which takes rows")
        if None in tensor.shape[1:]:
            raise ExportRefused(
                f"input {name!r} takes rows of any length: give them one, with keras.Input((n,)), and fill short rows up"
            )
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
            f"{class_name(layer)} {layer.name!r} gives {list(outputs[0].shape[1:])} numbers in place of one score for each pair "
            "(a Dot over another axis, a Flatten too few?)"
        )
    _check_precision(model)


def _check_precision(model: KerasModel) -> None:
    for layer in model._flatten_layers():
        for use, dtype in (("computes in", layer.compute_dtype), ("keeps weights as", layer.variable_dtype)):
            if dtype not in PRECISE:
                raise ExportRefused(
                    f"layer {layer.name!r} {use} {dtype}, too coarse for a parity check: "
                    "set keras.config.set_dtype_policy('float32') and load the weights into the model built anew"
                )


def forward(keras: Any, model: KerasModel) -> Callable[[Arrays], Float64Array]:
    """A function that gives the model's own scores, float64 [P], of each input's values by name, [P] or [P, *shape].

    It runs the model in inference mode, without gradients; it raises ExportRefused where the model gives more than a score a row.
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
    """The scores, a tensor, that the model gives in inference mode for tensors by input name.

    The model may take its inputs, and give its one output, in a list or a dictionary.
    """
    arguments = keras.tree.map_structure(lambda tensor: tensors[producer(tensor)[0].name], model.input)
    (scores,) = keras.tree.flatten(model(arguments, training=False))
    return scores
