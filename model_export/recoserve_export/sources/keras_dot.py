"""Whether a Keras model is plainly one dot product or cosine of two Embeddings: read from its layers, on any backend."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import KerasModel, class_name, producer

SHAPE_ONLY = ("Flatten", "Reshape", "Dropout")  # layers that change no number in inference mode


@dataclass(frozen=True)
class KerasDot:
    """The Embeddings of the user's and of the item's input, and the formula that joins their rows, such as `sigmoid(dot)`."""

    users: Any
    items: Any
    structure: str


def read(model: KerasModel, user: Any, item: Any) -> KerasDot | None:
    """The dot product that a model of two inputs, the tensors `user` and `item`, plainly is; None for every other model."""
    joined = _final_dot(model)
    if joined is None or len(model.inputs) != 2:
        return None
    dot, operands, squashed = joined
    lookups = {id(lookup.ids): lookup for lookup in map(_lookup, operands) if lookup}
    if set(lookups) != {id(user), id(item)}:
        return None
    users, items = lookups[id(user)], lookups[id(item)]
    if users.normalised != items.normalised and not dot.normalize:
        return None  # one side of length 1: neither a dot product of the tables nor a cosine
    inner = "cosine" if dot.normalize or users.normalised else "dot"
    return KerasDot(users.embedding, items.embedding, f"sigmoid({inner})" if squashed else inner)


def _final_dot(model: KerasModel) -> tuple[Any, list[Any], bool] | None:
    """The Dot that the model ends in, its two operands, and whether a sigmoid follows it."""
    (operation, parents), squashed = producer(model.outputs[0]), False
    while class_name(operation) != "Dot":
        if _activation(operation) == "sigmoid" and not squashed:
            squashed = True
        elif class_name(operation) not in SHAPE_ONLY and _activation(operation) != "linear":
            return None
        operation, parents = producer(parents[0])
    return operation, parents, squashed


def _activation(operation: Any) -> str | None:
    return getattr(operation.activation, "__name__", None) if class_name(operation) == "Activation" else None


@dataclass(frozen=True)
class _Lookup:
    ids: Any  # the model's input
    embedding: Any
    normalised: bool


def _lookup(tensor: Any) -> _Lookup | None:
    """The lookup that an operand of the Dot comes from; None where more than an Embedding and its length stand in between."""
    (operation, parents), normalised = producer(tensor), False
    while class_name(operation) != "Embedding":
        if class_name(operation) not in (*SHAPE_ONLY, "UnitNormalization"):
            return None
        normalised = normalised or class_name(operation) == "UnitNormalization"
        operation, parents = producer(parents[0])
    ids = parents[0]
    while class_name(producer(ids)[0]) in SHAPE_ONLY:
        ids = producer(ids)[1][0]
    return _Lookup(ids, operation, normalised)
