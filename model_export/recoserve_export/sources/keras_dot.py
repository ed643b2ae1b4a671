"""Recognises Keras models that are plainly one dot product or cosine of two Embeddings, by their layers, on any backend."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import KerasModel, class_name, producer

SHAPE_ONLY = ("Flatten", "Reshape", "Dropout")  # layers that change no number in inference mode, at most the shape


@dataclass(frozen=True)
class KerasDot:
    """The Embedding layers of the users and of the items, and the formula of their rows' score, such as `sigmoid(dot)`."""

    users: Any
    items: Any
    structure: str


def read(model: KerasModel, user: Any, item: Any) -> KerasDot | None:
    """The dot product of a model whose two inputs are the tensors `user` and `item`; None if it isn't plainly one."""
    final_dot = _final_dot(model)
    if final_dot is None or len(model.inputs) != 2:
        return None
    dot, operands, has_sigmoid = final_dot
    lookups = {id(lookup.ids): lookup for lookup in map(_lookup, operands) if lookup}
    if set(lookups) != {id(user), id(item)}:
        return None
    users, items = lookups[id(user)], lookups[id(item)]
    if users.is_normalised != items.is_normalised and not dot.normalize:
        return None  # one side alone has length 1: neither a dot product of the tables nor a cosine
    inner = "cosine" if dot.normalize or users.is_normalised else "dot"
    return KerasDot(users.embedding, items.embedding, f"sigmoid({inner})" if has_sigmoid else inner)


def _final_dot(model: KerasModel) -> tuple[Any, list[Any], bool] | None:
    """The Dot that the model ends in, its two operands, and True if a sigmoid follows it; None for a model with another end."""
    (operation, parents), has_sigmoid = producer(model.outputs[0]), False
    while class_name(operation) != "Dot":
        if _activation(operation) == "sigmoid" and not has_sigmoid:
            has_sigmoid = True
        elif class_name(operation) not in SHAPE_ONLY and _activation(operation) != "linear":
            return None
        operation, parents = producer(parents[0])
    return operation, parents, has_sigmoid


def _activation(operation: Any) -> str | None:
    """The name of an Activation layer's function; None for any other layer."""
    return getattr(operation.activation, "__name__", None) if class_name(operation) == "Activation" else None


@dataclass(frozen=True)
class _Lookup:
    ids: Any  # the model's input
    embedding: Any
    is_normalised: bool


def _lookup(tensor: Any) -> _Lookup | None:
    """The lookup that gives an operand of the Dot; None if other layers than an Embedding and a UnitNormalization compute it."""
    (operation, parents), is_normalised = producer(tensor), False
    while class_name(operation) != "Embedding":
        if class_name(operation) not in (*SHAPE_ONLY, "UnitNormalization"):
            return None
        is_normalised = is_normalised or class_name(operation) == "UnitNormalization"
        operation, parents = producer(parents[0])
    ids = parents[0]
    while class_name(producer(ids)[0]) in SHAPE_ONLY:
        ids = producer(ids)[1][0]
    return _Lookup(ids, operation, is_normalised)
