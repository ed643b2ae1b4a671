"""Keras models that score pairs, live or from a file: two tables where they are plainly a dot product, a graph otherwise."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource, Table, check_tables
from recoserve_export.graph.network import GraphSource
from recoserve_export.sources import keras_dot, keras_file, keras_scorer, kmr_model
from recoserve_export.sources.keras_dot import KerasDot
from recoserve_export.sources.tables import file_digest, float_table, pick_sides

if TYPE_CHECKING:
    import keras

REMEDY = "Pass --user-input NAME and --item-input NAME"
FLOAT_IDS = 1 << 24  # a float32 holds every whole number up to here


def load(
    path: Path, user: str | None = None, item: str | None = None, features: Collection[str] = (), trust: bool = False
) -> DotSource | GraphSource:
    """A model saved as `.keras` or `.h5` by Keras 3 or 2; code in the file runs with `trust` alone. Raises ExportRefused."""
    keras, digest = _keras(), file_digest(path)
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
    """A live model; `user` and `item` name its inputs where their own names don't tell. Raises ExportRefused.

    `features` are names of inputs that are neither; every input beyond the user's and the item's is a feature of the item.
    """
    keras = _keras()
    identity: dict[str, Any] = {"framework": "keras", "versions": _versions(keras), "name": name or model.name, "digest": digest}
    inputs = keras_scorer.inputs(model)
    if (pair := kmr_model.read(model)) is not None:
        tables = [_table(keras, layer) for layer in pair.embeddings]
        check_tables(*tables)
        return DotSource(**identity, users=tables[0], items=tables[1], notes=pair.notes)
    sides = pick_sides("model's inputs", [each for each in inputs if each not in features], user, item, REMEDY)
    keras_scorer.check(model, {side: inputs[side] for side in sides})
    found = keras_dot.read(model, *(inputs[side] for side in sides))
    if found is not None:
        return _dot_source(keras, model, sides, found, identity)
    return GraphSource(
        **identity,
        network=keras_scorer.trace(keras, model),
        user=sides[0],
        item=sides[1],
        scores=keras_scorer.forward(keras, model),
        notes=_float_ids({side: inputs[side] for side in sides}),
    )


def _dot_source(keras: Any, model: "keras.Model", sides: tuple[str, str], found: KerasDot, identity: dict[str, Any]) -> DotSource:
    users, items = _table(keras, found.users), _table(keras, found.items)
    check_tables(users, items)
    forward = keras_scorer.forward(keras, model)

    def scores(user_rows: Rows, item_rows: Rows) -> Float64Array:
        return forward(dict(zip(sides, (user_rows, item_rows), strict=True)))

    for side, table in zip(sides, (users, items), strict=True):
        _check_float_ids(keras_scorer.inputs(model)[side], side, table)
    return DotSource(**identity, users=users, items=items, scores=scores, structure=found.structure)


def _check_float_ids(tensor: Any, side: str, table: Table) -> None:
    if "float" in tensor.dtype and table.rows > FLOAT_IDS:
        raise ExportRefused(
            f"input {side!r} takes ids as {tensor.dtype}, exact up to 2^24 only, and its table has {table.rows} rows: "
            "declare the input with dtype int64, or save both tables as .npy and export those"
        )


def _float_ids(ids: dict[str, Any]) -> tuple[str, ...]:
    """What to tell of inputs that take ids as floats."""
    floats = [name for name, tensor in ids.items() if "float" in tensor.dtype]
    if not floats:
        return ()
    taken = f"ids are {ids[floats[0]].dtype} in this model ({', '.join(floats)}), exact up to 2^24"
    return (f"{taken}; the bundle takes int64 and converts them",)


def _table(keras: Any, layer: Any) -> Table:
    return float_table(layer.name, keras.ops.convert_to_numpy(keras.ops.cast(layer.embeddings, "float32")))


def _versions(keras: Any) -> dict[str, str]:
    return {"keras": keras.__version__, "backend": keras.backend.backend()}


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
    except ImportError as error:
        raise ExportRefused(f"needs keras ({error}): pip install 'recoserve[keras]'") from None
    return keras
