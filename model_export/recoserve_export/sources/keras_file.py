"""Keras files, `.keras` and `.h5`: their description is read and checked before Keras builds anything of it.

Keras builds objects while it reads: by the time it meets one that it refuses, those in front of it have been built, and its message
prints a configuration rather than the layer's name. A file is what somebody else sent, so every object of its description is looked
at first: what would run code from the file is refused without `trust`, what isn't known here is refused by the name of its layer.
Keras' own `safe_mode` stays on behind that.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused

CONFIG, LONGEST_CONFIG = "config.json", 1 << 28
CODE_LAYERS = {  # class -> what it keeps in the file
    "Lambda": "Python code",
    "__lambda__": "Python code",
    "TorchModuleWrapper": "a pickled torch module",
    "TFSMLayer": "a TensorFlow program",
    "JaxLayer": "Python code",
    "FlaxLayer": "Python code",
}
VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__typespec__")
KERAS_2_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty")
CLASS_NAMESPACES = (
    "layers",
    "models",
    "initializers",
    "regularizers",
    "constraints",
    "dtype_policies",
    "quantizers",
    "activations",
)
FUNCTION_NAMESPACES = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics")
UNEXPORTED_CLASSES = ("Functional", "Policy")  # that files name, and that no namespace of Keras shows
UNFILLED = "freshly-initialized"  # in Keras' warning of weights that the file lacks


@dataclass(frozen=True)
class _ConfigObject:
    """An object of a model's description: its entry, and the name of the layer that it belongs to."""

    entry: Mapping[str, Any]
    layer: str

    @property
    def class_name(self) -> str:
        return str(self.entry["class_name"])

    @property
    def shown_name(self) -> str:
        return str(self.entry.get("registered_name") or self.class_name)

    @property
    def module(self) -> str:
        return str(self.entry.get("module") or "")

    @property
    def config(self) -> str:
        return str(self.entry.get("config"))

    @property
    def names(self) -> set[str]:
        """Every name under which the object may be registered."""
        return {self.class_name, self.shown_name}


def load(keras: Any, path: Path, trust: bool) -> Any:
    """The model of a file, uncompiled; raises ExportRefused, with the name of the layer at fault."""
    if path.name.endswith(".weights.h5"):
        raise ExportRefused(f"{path} holds weights and no model, and can't tell users from items: save the model itself as .keras")
    config = _config_of_keras_file(path) if path.suffix == ".keras" else _config_of_hdf5_file(path)
    config.pop("compile_config", None)  # losses and optimizers aren't loaded
    stand_ins = _stand_ins(keras, config)
    for config_object in _objects(config):
        _check_object(keras, path, config_object, stand_ins, trust)
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        try:
            model = keras.saving.load_model(path, custom_objects=stand_ins, compile=False, safe_mode=not trust)
        except Exception as error:  # a damaged file fails in ways of Keras' own choosing
            raise ExportRefused(f"{path}: Keras {keras.__version__} can't load it. {_remedy(path)} ({_reason(error)})") from error
    for warning in messages:
        if UNFILLED in str(warning.message):  # only a warning to Keras, but the bundle would serve random scores
            raise ExportRefused(f"{path} has no weights for a part of its model: {' '.join(str(warning.message).split())[:200]}")
    return model


def _reason(error: Exception) -> str:
    message = str(error).rsplit("Exception encountered:", 1)[-1]  # in front of it stands the whole description of the model
    return f"{type(error).__name__}: {' '.join(message.split())[:300]}"


def _remedy(path: Path) -> str:
    if path.suffix == ".keras" and _keras_version(path).startswith("2."):
        return "It was saved by Keras 2: load it there and save it as .h5, which Keras 3 reads, with model.save('model.h5')"
    return "Is it whole, and of this version or an older one? Where it still runs, export the live model with export_model"


def _keras_version(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (KeyError, ValueError, TypeError):
        return ""


def _config_of_keras_file(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as file:
            text = file.read(LONGEST_CONFIG + 1)
    except Exception as error:  # a cut-off archive fails in many ways: BadZipFile, KeyError, EOFError, zlib.error
        raise ExportRefused(f"{path}: not a .keras file, or cut off ({error}): can't load it") from error
    return _parsed(path, text)


def _config_of_hdf5_file(path: Path) -> dict[str, Any]:
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
        config = json.loads(text) if len(text) <= LONGEST_CONFIG else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ExportRefused(f"{path}: the model's description in it is damaged: can't load it")
    return config


def _objects(config: Any) -> Iterator[_ConfigObject]:
    """Every object of a configuration; a loop in place of a recursion, since files may nest deeply."""
    stack = [(config, "")]
    while stack:
        value, layer = stack.pop()
        if isinstance(value, dict):
            inner = value.get("config")
            if isinstance(value.get("class_name"), str):
                name = inner.get("name") if isinstance(inner, dict) else None
                layer = name if isinstance(name, str) else layer
                yield _ConfigObject(value, layer)
            stack += [(member, layer) for member in value.values()]
        elif isinstance(value, list):
            stack += [(member, layer) for member in value]


def _unqualified(name: str) -> str:
    return name.replace(">", ".").rsplit(".", 1)[-1]


def _check_object(keras: Any, path: Path, config_object: _ConfigObject, stand_ins: Mapping[str, Any], trust: bool) -> None:
    """Raise ExportRefused for an object that would run code from the file, and for one of a class that isn't known here."""
    layer = config_object.layer
    # A file may spell a class as it likes ("Lambda", "keras.layers.Lambda", "any>Lambda"): only the last part counts.
    code = next(
        (CODE_LAYERS[_unqualified(name)] for name in sorted(config_object.names) if _unqualified(name) in CODE_LAYERS), None
    )
    if code and not trust:
        raise ExportRefused(
            f"{path}: layer {layer!r} is or has a {_unqualified(config_object.class_name).strip('_')}, which keeps {code} in the "
            "file. Loading would run it, so nothing was loaded: put Keras' own layers in its place (Rescaling, keras.ops), export "
            "the live model with recoserve_export.export_model, or pass --trust if you know where the file comes from"
        )
    if config_object.class_name in KERAS_2_OPERATIONS:
        raise ExportRefused(
            f"{path}: layer {layer!r} is a {config_object.class_name}, an operation of TensorFlow inside a Keras 2 model that "
            "Keras 3 can't load: build the model anew in Keras 3 with layers in its place, and load its weights"
        )
    if not code and not _is_known(keras, config_object, stand_ins):
        name = config_object.config if config_object.class_name == "function" else config_object.shown_name
        raise ExportRefused(
            f"{path}: layer {layer!r} needs {name!r}, which is none of Keras' own and isn't registered here. Export from the "
            "Python program that defines it, with recoserve_export.export_model: the live model, or this path once "
            "@keras.saving.register_keras_serializable() stands on the definition"
        )


def _is_known(keras: Any, config_object: _ConfigObject, stand_ins: Mapping[str, Any]) -> bool:
    """Whether Keras, a stand-in or a registration of the caller's has the object's class or function."""
    is_function = config_object.class_name == "function"
    names = config_object.names | ({config_object.config} if is_function else set())
    if any(name in stand_ins or keras.saving.get_registered_object(name) is not None for name in names):
        return True
    return _is_keras_function(keras, config_object) if is_function else _is_keras_class(keras, config_object)


def _is_keras_function(keras: Any, config_object: _ConfigObject) -> bool:
    # Not any function of Keras will do: a file could name one that touches other files, such as those of keras.utils.
    if config_object.module in ("builtins", ""):
        return any(hasattr(getattr(keras, namespace), config_object.config) for namespace in FUNCTION_NAMESPACES)
    packages = config_object.module.split(".")
    return packages[0] == "keras" and bool({*FUNCTION_NAMESPACES, "ops"} & set(packages))


def _is_keras_class(keras: Any, config_object: _ConfigObject) -> bool:
    name, module = config_object.class_name, config_object.module
    if name in VALUES or name in UNEXPORTED_CLASSES or module.split(".")[0] in ("keras", "builtins"):
        return True
    return not module and any(isinstance(getattr(getattr(keras, space), name, None), type) for space in CLASS_NAMESPACES)


def _stand_ins(keras: Any, config: Any) -> dict[str, Any]:
    """Stand-ins for KMR's layers by name, where the model has some and the package isn't here."""
    names = {name for described in _objects(config) for name in (described.class_name, described.shown_name, described.module)}
    if not any(name.startswith("kmr") for name in names):
        return {}
    from recoserve_export.sources import kmr

    missing = {
        name: layer
        for name, layer in kmr.LAYERS.items()
        if keras.saving.get_registered_object(f"{kmr.PACKAGE}>{name}") in (None, layer)
    }
    return {**missing, **{f"{kmr.PACKAGE}>{name}": layer for name, layer in missing.items()}}
