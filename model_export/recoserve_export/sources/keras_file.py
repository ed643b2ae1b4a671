"""Keras files, `.keras` and `.h5`: what they say they hold is read before anything is built of it, and code in them is refused."""

import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused

CONFIG, LONGEST_CONFIG = "config.json", 1 << 28
RUNS_CODE = {
    "Lambda": "Python code",
    "__lambda__": "Python code",
    "TorchModuleWrapper": "a pickled torch module",
    "TFSMLayer": "a TensorFlow program",
    "JaxLayer": "Python code",
    "FlaxLayer": "Python code",
}
VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__typespec__")
KERAS_2_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty")
NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies", "quantizers", "activations")
FUNCTIONS = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics")
UNFILLED = "freshly-initialized"
OLD_NAMES = ("Functional", "Policy")  # classes that files name and no namespace shows


def load(keras: Any, path: Path, trust: bool) -> Any:
    """The model of a file, uncompiled; raises ExportRefused, with the name of what stands in the way."""
    if path.name.endswith(".weights.h5"):
        raise ExportRefused(f"{path} holds weights and no model, and can't tell users from items: save the model itself as .keras")
    config = _zipped(path) if path.suffix == ".keras" else _hdf5(path)
    config.pop("compile_config", None)  # losses and optimizers aren't loaded
    own = _stand_ins(keras, config)
    for entry, layer in _objects(config):
        _check(keras, path, entry, layer, own, trust)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = keras.saving.load_model(path, custom_objects=own, compile=False, safe_mode=not trust)
        except Exception as error:  # a damaged file fails in ways of Keras' own choosing
            raise ExportRefused(f"{path}: Keras {keras.__version__} can't load it. {_way_out(path)} ({_reason(error)})") from error
    for each in told:
        if UNFILLED in str(each.message):  # a warning to Keras, and random scores to whoever is served
            raise ExportRefused(f"{path} has no weights for a part of its model: {' '.join(str(each.message).split())[:200]}")
    return model


def _reason(error: Exception) -> str:
    said = str(error).rsplit("Exception encountered:", 1)[-1]  # in front of it stands the whole description of the model
    return f"{type(error).__name__}: {' '.join(said.split())[:300]}"


def _way_out(path: Path) -> str:
    if path.suffix == ".keras" and _keras_version(path).startswith("2."):
        return "It was saved by Keras 2: load it there and save it as .h5, which Keras 3 reads, with model.save('model.h5')"
    return "Is it whole, and of this version or an older one? Where it still runs, export the live model with export_model"


def _keras_version(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (KeyError, ValueError, TypeError):
        return ""


def _zipped(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as file:
            text = file.read(LONGEST_CONFIG + 1)
    except Exception as error:  # a cut-off archive fails in many ways: BadZipFile, KeyError, EOFError, zlib.error
        raise ExportRefused(f"{path}: not a .keras file, or cut off ({error}): can't load it") from error
    return _parsed(path, text)


def _hdf5(path: Path) -> dict[str, Any]:
    try:
        import h5py  # type: ignore[import-untyped]

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            listing = ", ".join(list(file)[:5])
    except ImportError as error:
        raise ExportRefused(f"needs h5py ({error}): pip install 'recoserve[keras]'") from None
    except Exception as error:  # h5py raises OSError, RuntimeError and KeyError for damaged files
        raise ExportRefused(f"{path}: not an HDF5 file, or cut off: can't load it") from error
    if text is None:
        raise ExportRefused(
            f"{path} holds weights and no model ({listing or 'nothing at all'}), and can't tell users from items: "
            "save the model itself as .keras"
        )
    return _parsed(path, text)


def _parsed(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text) if len(text) <= LONGEST_CONFIG else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ExportRefused(f"{path}: the model's description in it is damaged: can't load it")
    return found


def _objects(value: Any, layer: str = "") -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every object of a configuration, with the name of the layer that it belongs to; a loop, since files may nest deeply."""
    waiting = [(value, layer)]
    while waiting:
        value, layer = waiting.pop()
        if isinstance(value, dict):
            inner = value.get("config")
            if isinstance(value.get("class_name"), str):
                named = inner.get("name") if isinstance(inner, dict) else None
                layer = named if isinstance(named, str) else layer
                yield value, layer
            waiting += [(each, layer) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, layer) for each in value]


def _last(name: str) -> str:
    return name.replace(">", ".").rsplit(".", 1)[-1]


def _check(keras: Any, path: Path, entry: Mapping[str, Any], layer: str, own: Mapping[str, Any], trust: bool) -> None:
    """Raise ExportRefused for an object that would run code of the file's, and for one of a class that isn't known here."""
    kind = entry["class_name"]
    names = {kind, str(entry.get("registered_name") or kind)}
    carried = next((RUNS_CODE[_last(name)] for name in sorted(names) if _last(name) in RUNS_CODE), None)
    if carried and not trust:
        raise ExportRefused(
            f"{path}: layer {layer!r} is or has a {_last(kind).strip('_')}, which keeps {carried} in the file. Loading would run "
            "it, so nothing was loaded: put Keras' own layers in its place (Rescaling, keras.ops), export the live model with "
            "recoserve_export.export_model, or pass --trust if you know where the file comes from"
        )
    if kind in KERAS_2_OPERATIONS:
        raise ExportRefused(
            f"{path}: layer {layer!r} is a {kind}, an operation of TensorFlow inside a Keras 2 model that Keras 3 can't load: "
            "build the model anew in Keras 3 with layers in its place, and load its weights"
        )
    if not carried and not _known(keras, entry, names, own):
        shown = entry["config"] if kind == "function" else str(entry.get("registered_name") or kind)
        raise ExportRefused(
            f"{path}: layer {layer!r} needs {shown!r}, which is none of Keras' own and isn't registered here. Export from the "
            "Python program that defines it, with recoserve_export.export_model: the live model, or this path once "
            "@keras.saving.register_keras_serializable() stands on the definition"
        )


def _known(keras: Any, entry: Mapping[str, Any], names: set[str], own: Mapping[str, Any]) -> bool:
    kind, module = entry["class_name"], str(entry.get("module") or "")
    names = names | ({str(entry.get("config"))} if kind == "function" else set())
    if any(name in own or keras.saving.get_registered_object(name) is not None for name in names):
        return True
    if kind == "function" and module in ("builtins", ""):
        return any(hasattr(getattr(keras, space), str(entry.get("config"))) for space in FUNCTIONS)
    if kind == "function":
        return module.split(".")[0] == "keras" and bool({*FUNCTIONS, "ops"} & set(module.split(".")))
    if kind in VALUES or kind in OLD_NAMES or module.split(".")[0] in ("keras", "builtins"):
        return True
    return not module and any(isinstance(getattr(getattr(keras, space), kind, None), type) for space in NAMESPACES)


def _stand_ins(keras: Any, config: Any) -> dict[str, Any]:
    """Stand-ins for KMR's layers, where the model has some and the package isn't here."""
    found = {
        name for entry, _ in _objects(config) for name in (entry["class_name"], entry.get("registered_name"), entry.get("module"))
    }
    if not any(isinstance(name, str) and name.startswith("kmr") for name in found):
        return {}
    from recoserve_export.sources import kmr

    missing = {
        name: each
        for name, each in kmr.LAYERS.items()
        if keras.saving.get_registered_object(f"{kmr.PACKAGE}>{name}") in (None, each)
    }
    return {**missing, **{f"{kmr.PACKAGE}>{name}": each for name, each in missing.items()}}
