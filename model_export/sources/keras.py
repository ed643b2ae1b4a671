"""Keras models of two inputs, two Embeddings and a Dot: from a live model or a saved file, on any Keras backend."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_export.formula import DotSource, Rows, Scores, Table, check_tables
from model_export.sources.tables import file_digest, float_table, pick_sides
from service.errors import ExportRefused

if TYPE_CHECKING:
    import keras

SHAPE_ONLY = ("Flatten", "Reshape", "Dropout")
SUPPORTED = (
    "a functional model of two inputs, each through an Embedding and Flatten, Reshape or Dropout, joined by Dot, "
    "with or without a sigmoid behind it"
)
REMEDY = "Pass --user-input NAME and --item-input NAME"


def load(path: Path, user: str | None = None, item: str | None = None) -> DotSource:
    """A model saved as `.keras` or `.h5`, without running code from it; raises ExportRefused."""
    if path.name.endswith(".weights.h5"):
        raise ExportRefused(f"{path} holds weights and no model, and can't tell users from items: save the model itself as .keras")
    keras, digest = _keras(), file_digest(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file fails in ways of Keras' own choosing, BadZipFile among them
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ExportRefused(
            f"{path}: Keras can't load it in safe mode ({reason}). Lambda layers and custom classes would run code from the file: "
            "export the live model instead, with model_export.export_model"
        ) from error
    return from_model(model, user, item, name=path.stem, digest=digest)


def from_model(
    model: "keras.Model", user: str | None = None, item: str | None = None, name: str | None = None, digest: str | None = None
) -> DotSource:
    """A live model; `user` and `item` name its inputs where their own names don't tell. Raises ExportRefused."""
    keras = _keras()
    inputs = _inputs(model)
    sides = pick_sides("model's inputs", list(inputs), user, item, REMEDY)
    dot, branch_ends, squashed = _join(model)
    branches = dict(_branch(tensor) for tensor in branch_ends)
    if set(branches) != {id(inputs[side]) for side in sides}:
        raise _unsupported("the Dot's two sides don't come from the two inputs")
    layers, unit = zip(*(branches[id(inputs[side])] for side in sides), strict=True)
    users, items = (_table(keras, layer) for layer in layers)
    check_tables(users, items)
    _check_precision(model)
    inner = "cosine" if dot.normalize or all(unit) else "dot"
    return DotSource(
        framework="keras",
        versions={"keras": keras.__version__, "backend": keras.backend.backend()},
        name=name or model.name,
        users=users,
        items=items,
        scores=lambda user_rows, item_rows: _forward(keras, model, dict(zip(sides, (user_rows, item_rows), strict=True))),
        structure=f"sigmoid({inner})" if squashed else inner,
        digest=digest,
    )


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
    except ImportError as error:
        raise ExportRefused(f"needs keras ({error}): pip install 'recoserve[keras]'") from None
    return keras


def _unsupported(found: str) -> ExportRefused:
    return ExportRefused(f"the Keras model is not a dot model: {found}. Supported is {SUPPORTED}")


def _inputs(model: "keras.Model") -> dict[str, Any]:
    """The model's inputs by name; raises ExportRefused where there is no graph, or more or fewer than two inputs."""
    tensors, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if not tensors or not outputs:
        raise _unsupported("a subclassed or unbuilt model has no graph to read")
    inputs = {_step(tensor)[0].name: tensor for tensor in tensors}
    if len(inputs) != 2 or len(outputs) != 1:
        raise _unsupported(f"it has {len(inputs)} input(s) ({', '.join(inputs)}) and {len(outputs)} output(s)")
    return inputs


def _step(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that a tensor comes from, and the tensors that this one call of it took."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def _kind(operation: Any) -> str:
    return type(operation).__name__


def _join(model: "keras.Model") -> tuple[Any, list[Any], bool]:
    """The Dot that ends the model, its two sides, and whether a sigmoid stands behind it."""
    (operation, parents), squashed = _step(model.outputs[0]), False
    while _kind(operation) != "Dot":
        if _activation(operation) == "sigmoid" and not squashed:
            squashed = True
        elif _kind(operation) not in SHAPE_ONLY and _activation(operation) != "linear":
            raise _unsupported(f"{_kind(operation)} layer {operation.name!r} makes the score, or stands behind the Dot")
        operation, parents = _step(parents[0])
    return operation, parents, squashed


def _activation(operation: Any) -> str | None:
    return getattr(operation.activation, "__name__", None) if _kind(operation) == "Activation" else None


def _branch(tensor: Any) -> tuple[int, tuple[Any, bool]]:
    """Walk from one side of the Dot to its input: the input's identity, the Embedding passed, whether rows become unit vectors."""
    (operation, parents), unit = _step(tensor), False
    while _kind(operation) != "Embedding":
        if _kind(operation) not in (*SHAPE_ONLY, "UnitNormalization"):
            raise _unsupported(f"{_kind(operation)} {operation.name!r} feeds the Dot in place of an Embedding's rows")
        unit = unit or _kind(operation) == "UnitNormalization"
        operation, parents = _step(parents[0])
    embedding, source = operation, parents[0]
    while _kind(_step(source)[0]) in SHAPE_ONLY:
        source = _step(source)[1][0]
    return id(source), (embedding, unit)


def _table(keras: Any, layer: Any) -> Table:
    return float_table(layer.name, keras.ops.convert_to_numpy(keras.ops.cast(layer.embeddings, "float32")))


def _check_precision(model: "keras.Model") -> None:
    for layer in model.layers:
        if layer.compute_dtype not in ("float32", "float64"):
            raise ExportRefused(
                f"layer {layer.name!r} computes in {layer.compute_dtype}, too coarse for a parity check: "
                "set keras.config.set_dtype_policy('float32') and load the weights into the model built anew"
            )


def _forward(keras: Any, model: "keras.Model", rows: dict[str, Rows]) -> Scores:
    """The model's own score of each pair, in inference mode."""
    count = len(next(iter(rows.values())))
    inputs = keras.tree.map_structure(lambda tensor: _shaped(keras, tensor, rows[_step(tensor)[0].name]), model.input)
    scores = keras.ops.convert_to_numpy(model(inputs, training=False))
    if scores.size != count:
        raise _unsupported(f"it gives {scores.size / count:g} scores per pair (a Dot over another axis?)")
    return np.asarray(scores, np.float64).reshape(count)


def _shaped(keras: Any, tensor: Any, rows: Rows) -> Any:
    shape = tuple(tensor.shape)
    if any(size not in (None, 1) for size in shape):
        raise _unsupported(f"input {tensor.name!r} takes {shape[1:]} ids at a time")
    return keras.ops.convert_to_tensor(rows.reshape((-1,) + (1,) * (len(shape) - 1)), dtype=tensor.dtype)
