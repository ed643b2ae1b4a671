"""Reads Keras models that score pairs, live or from a file: as two tables if they are plainly a dot product, else as a graph."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, EmbeddingTable, check_tables
from recoserve_export.graph.lookups import MAX_FLOAT32_ID
from recoserve_export.graph.network import GraphSource
from recoserve_export.sources import keras_dot, keras_file, keras_scorer, keras_trace, kmr_model
from recoserve_export.sources.keras_dot import KerasDot
from recoserve_export.sources.sides import pick_sides
from recoserve_export.sources.tables import file_digest, float_table

if TYPE_CHECKING:
    import keras


def load(
    path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = (), trust: bool = False
) -> DotSource | GraphSource:
    """The model of a `.keras` or `.h5` file, saved by Keras 3 or 2, as a source; code in the file runs only with `trust`.

    The other arguments are those of `from_model`. Raises ExportRefused for a file that can't be loaded, and as `from_model` does.
    """
    keras, digest = _import_keras(), file_digest(path)
    model = keras_file.load(keras, path, trust)
    return from_model(model, user, item, features, name=path.stem, digest=digest)


def from_model(
    model: "keras.Model",
    user: str | None = None,
    item: str | None = None,
    features: Collection[str] = (),
    name: str | None = None,
    digest: str | None = None,
) -> DotSource | GraphSource:
    """A live model as a source; raises ExportRefused for a model that isn't a scorer of pairs or can't be traced.

    `user` and `item` name the inputs that take ids, if their names don't show it. `features` are names of inputs that are neither;
    every input beyond the user's and the item's is a feature of the item.
    """
    keras = _import_keras()
    identity: dict[str, Any] = {"framework": "keras", "versions": _versions(keras), "name": name or model.name, "digest": digest}
    tensors = keras_scorer.input_tensors(model)
    # First, since the inputs of KMR's models don't have names by which sides are picked, and take a hundred item ids at a time.
    kmr_tables = kmr_model.read(model)
    if kmr_tables is not None:
        users, items = (_table(keras, embedding) for embedding in (kmr_tables.users, kmr_tables.items))
        check_tables(users, items)
        return DotSource(**identity, users=users, items=items, notes=kmr_tables.notes)
    sides = pick_sides("model's inputs", [name for name in tensors if name not in features], user, item)
    side_tensors = {side: tensors[side] for side in sides}
    keras_scorer.check_scorer(model, side_tensors)
    dot = keras_dot.read(model, *side_tensors.values())
    if dot is not None:
        return _dot_source(keras, model, side_tensors, dot, identity)
    return GraphSource(
        **identity,
        network=keras_trace.trace(keras, model),
        user=sides[0],
        item=sides[1],
        scores=keras_scorer.forward(keras, model),
        notes=_float_id_notes(side_tensors),
    )


def _dot_source(
    keras: Any, model: "keras.Model", side_tensors: Mapping[str, Any], dot: KerasDot, identity: Mapping[str, Any]
) -> DotSource:
    users, items = _table(keras, dot.users), _table(keras, dot.items)
    check_tables(users, items)
    forward = keras_scorer.forward(keras, model)

    def scores(user_rows: Rows, item_rows: Rows) -> Float64Array:
        return forward(dict(zip(side_tensors, (user_rows, item_rows), strict=True)))

    for (name, tensor), table in zip(side_tensors.items(), (users, items), strict=True):
        _check_float_ids(name, tensor, table)
    return DotSource(**identity, users=users, items=items, scores=scores, structure=dot.structure)


def _check_float_ids(name: str, tensor: Any, table: EmbeddingTable) -> None:
    if "float" in tensor.dtype and table.row_count > MAX_FLOAT32_ID:
        raise ExportRefused(
            f"input {name!r} takes ids as {tensor.dtype}, exact up to 2^24 only, and its table has {table.row_count} rows: "
            "declare the input with dtype int64, or save both tables as .npy and export those"
        )


def _float_id_notes(side_tensors: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for the report if inputs take ids as floats; otherwise none."""
    float_inputs = [name for name, tensor in side_tensors.items() if "float" in tensor.dtype]
    if not float_inputs:
        return ()
    dtype = side_tensors[float_inputs[0]].dtype
    listing = ", ".join(float_inputs)
    return (f"ids are {dtype} in this model ({listing}), exact up to 2^24; the bundle takes int64 and converts them",)


def _table(keras: Any, layer: Any) -> EmbeddingTable:
    return float_table(layer.name, keras.ops.convert_to_numpy(keras.ops.cast(layer.embeddings, "float32")))


def _versions(keras: Any) -> dict[str, str]:
    return {"keras": keras.__version__, "backend": keras.backend.backend()}


def _import_keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is imported; only on torch can a model be traced
    try:
        import keras
    except ImportError as error:
        raise ExportRefused(f"needs keras ({error}): pip install 'recoserve[keras]'") from None
    return keras
