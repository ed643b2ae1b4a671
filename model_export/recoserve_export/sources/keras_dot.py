"""Whether a Keras model is plainly one dot product or cosine of two Embeddings: read from its layers, on any backend."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import Model, kind, step

SHAPE_ONLY = ("Flatten", "Reshape", "Dropout")


@dataclass(frozen=True)
class KerasDot:
    """The Embeddings that the user's and the item's input go into, and the form of the score that joins them."""

    users: Any
    items: Any
    structure: str


def read(model: Model, user: Any, item: Any) -> KerasDot | None:
    """The dot product that a model of two inputs, the tensors `user` and `item`, plainly is; None for every other model."""
    found = _join(model)
    if found is None or len(model.inputs) != 2:
        return None
    dot, sides, squashed = found
    branches = {id(branch.source): branch for branch in map(_branch, sides) if branch}
    if set(branches) != {id(user), id(item)}:
        return None
    users, items = branches[id(user)], branches[id(item)]
    if users.unit != items.unit and not dot.normalize:
        return None  # one side of length 1: neither a dot product of the tables nor a cosine
    inner = "cosine" if dot.normalize or users.unit else "dot"
    return KerasDot(users.embedding, items.embedding, f"sigmoid({inner})" if squashed else inner)


def _join(model: Model) -> tuple[Any, list[Any], bool] | None:
    """The Dot that ends the model, its two sides, and whether a sigmoid stands behind it."""
    (operation, parents), squashed = step(model.outputs[0]), False
    while kind(operation) != "Dot":
        if _activation(operation) == "sigmoid" and not squashed:
            squashed = True
        elif kind(operation) not in SHAPE_ONLY and _activation(operation) != "linear":
            return None
        operation, parents = step(parents[0])
    return operation, parents, squashed


def _activation(operation: Any) -> str | None:
    return getattr(operation.activation, "__name__", None) if kind(operation) == "Activation" else None


@dataclass(frozen=True)
class _Branch:
    source: Any
    embedding: Any
    unit: bool


def _branch(tensor: Any) -> _Branch | None:
    """One side of the Dot, walked back to its input; None where more than an Embedding stands on the way."""
    (operation, parents), unit = step(tensor), False
    while kind(operation) != "Embedding":
        if kind(operation) not in (*SHAPE_ONLY, "UnitNormalization"):
            return None
        unit = unit or kind(operation) == "UnitNormalization"
        operation, parents = step(parents[0])
    source = parents[0]
    while kind(step(source)[0]) in SHAPE_ONLY:
        source = step(source)[1][0]
    return _Branch(source, operation, unit)
