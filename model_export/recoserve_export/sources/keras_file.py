"""Loads `.keras` and `.h5` files, after a check of the model's description, before Keras builds anything of it.

Keras builds objects while it reads: when it meets one that it refuses, it has built those before it, and its message prints a
configuration instead of the layer's name. A file may come from anybody, so every object of its description is checked first: one
that would run code from the file is refused without `trust`, and an unknown one is refused by the name of its layer. Without
`trust`, Keras' own `safe_mode` is on as well.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused

CONFIG_NAME, MAX_CONFIG_BYTES = "config.json", 1 << 28
CODE_LAYERS = {  # class -> the program that it keeps in the file
    "Lambda": "Python code",
    "__lambda__": "Python code",
    "TorchModuleWrapper": "a pickled torch module",
    "TFSMLayer": "a TensorFlow program",
    "JaxLayer": "Python code",
    "FlaxLayer": "Python code",
}
VALUE_CLASSES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__typespec__")
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
UNEXPORTED_CLASSES = ("Functional", "Policy")  # that files name, though no namespace of Keras exports them
UNFILLED = "freshly-initialized"  # what Keras' warning says of weights that the file lacks


@dataclass(frozen=True)
class _ConfigObject:
    """An object in a model's description: its entry there, and the name of the layer that it belongs to."""

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
    """The model of a file, uncompiled; raises ExportRefused, with the name of the layer if one is to blame."""
    if path.name.endswith(".weights.h5"):
        raise ExportRefused(
            f"{path} holds weights and no model, so nothing says which are the users: save the model itself as .keras"
        )
    config = _config_of_keras_file(path) if path.suffix == ".keras" else _config_of_hdf5_file(path)
    config.pop("compile_config", None)  # losses and optimizers aren't loaded
    stand_ins = _stand_ins(keras, config)
    for config_object in _objects(config):
        _check_object(keras, path, config_object, stand_ins, trust)
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        try:
            model = keras.saving.load_model(path, custom_objects=stand_ins, compile=False, safe_mode=not trust)
        except Exception as error:  # Keras raises errors of many types for damaged files
            raise ExportRefused(f"{path}: Keras {keras.__version__} can't load it. {_remedy(path)} ({_reason(error)})") from error
    for warning in messages:
        if UNFILLED in str(warning.message):  # Keras only warns, but the bundle would serve random scores
            raise ExportRefused(f"{path} has no weights for a part of its model: {' '.join(str(warning.message).split())[:200]}")
    return model


def _reason(error: Exception) -> str:
    message = str(error).rsplit("Exception encountered:", 1)[-1]  # before these words Keras prints the description of the model
    return f"{type(error).__name__}: {' '.join(message.split())[:300]}"


def _remedy(path: Path) -> str:
    if path.suffix == ".keras" and _keras_version(path).startswith("2."):
        return "It was saved by Keras 2: load it there and save it as .h5, which Keras 3 reads, with model.save('model.h5')"
    return "Is the file complete, and saved by this version or an older one? If it loads elsewhere, export the live model there"


def _keras_version(path: Path) -> str:
    """The version of Keras that saved a `.keras` file; an empty text if the file doesn't say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (KeyError, ValueError, TypeError):
        return ""


def _config_of_keras_file(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG_NAME) as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
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
            f"{path} holds weights and no model ({listing or 'nothing at all'}), so nothing says which are the users: "
            "save the model itself as .keras"
        )
    return _parsed(path, text)


def _parsed(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        config = json.loads(text) if len(text) <= MAX_CONFIG_BYTES else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ExportRefused(f"{path}: the model's description in it is damaged: can't load it")
    return config


def _objects(config: Any) -> Iterator[_ConfigObject]:
    """Every object of a configuration, found in a loop instead of a recursion, since files may nest deeply."""
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
    """The last part of a name such as `keras.layers.Lambda` or `package>Lambda`."""
    return name.replace(">", ".").rsplit(".", 1)[-1]


def _check_object(keras: Any, path: Path, config_object: _ConfigObject, stand_ins: Mapping[str, Any], trust: bool) -> None:
    """Raise ExportRefused for an object that would run code from the file, and for an object of an unknown class."""
    layer = config_object.layer
    # A file may spell a class as it likes ("Lambda", "keras.layers.Lambda", "any>Lambda"): only the last part counts.
    code = next(
        (CODE_LAYERS[_unqualified(name)] for name in sorted(config_object.names) if _unqualified(name) in CODE_LAYERS), None
    )
    if code and not trust:
        raise ExportRefused(
            f"{path}: layer {layer!r} is or has a {_unqualified(config_object.class_name).strip('_')}, which keeps {code} in the "
            "file. Loading would run it, so nothing was loaded: use Keras' own layers instead (Rescaling, keras.ops), export "
            "the live model with recoserve_export.export_model, or pass --trust if you know where the file comes from"
        )
    if config_object.class_name in KERAS_2_OPERATIONS:
        raise ExportRefused(
            f"{path}: layer {layer!r} is a {config_object.class_name}, an operation of TensorFlow inside a Keras 2 model that "
            "Keras 3 can't load: build the model anew in Keras 3 with layers instead, and load its weights"
        )
    if not code and not _is_known(keras, config_object, stand_ins):
        name = config_object.config if config_object.class_name == "function" else config_object.shown_name
        raise ExportRefused(
            f"{path}: layer {layer!r} needs {name!r}, which is not part of Keras and isn't registered. In the Python "
            "program that defines it, call recoserve_export.export_model with the live model, or with this path if the definition "
            "has the decorator "
            "@keras.saving.register_keras_serializable()"
        )


def _is_known(keras: Any, config_object: _ConfigObject, stand_ins: Mapping[str, Any]) -> bool:
    """True if Keras, a stand-in or a registration of the caller has the object's class or function."""
    is_function = config_object.class_name == "function"
    names = config_object.names | ({config_object.config} if is_function else set())
    if any(name in stand_ins or keras.saving.get_registered_object(name) is not None for name in names):
        return True
    return _is_keras_function(keras, config_object) if is_function else _is_keras_class(keras, config_object)


def _is_keras_function(keras: Any, config_object: _ConfigObject) -> bool:
    # Not every function of Keras is accepted: a file could name one that opens other files, such as those of keras.utils.
    if config_object.module in ("builtins", ""):
        return any(hasattr(getattr(keras, namespace), config_object.config) for namespace in FUNCTION_NAMESPACES)
    packages = config_object.module.split(".")
    return packages[0] == "keras" and bool({*FUNCTION_NAMESPACES, "ops"} & set(packages))


def _is_keras_class(keras: Any, config_object: _ConfigObject) -> bool:
    name, module = config_object.class_name, config_object.module
    if name in VALUE_CLASSES or name in UNEXPORTED_CLASSES or module.split(".")[0] in ("keras", "builtins"):
        return True
    return not module and any(isinstance(getattr(getattr(keras, space), name, None), type) for space in CLASS_NAMESPACES)


def _stand_ins(keras: Any, config: Any) -> dict[str, Any]:
    """Stand-ins for KMR's layers, by name, if the model has some and the package isn't installed."""
    names = {name for item in _objects(config) for name in (item.class_name, item.shown_name, item.module)}
    if not any(name.startswith("kmr") for name in names):
        return {}
    from recoserve_export.sources import kmr

    missing = {
        name: layer
        for name, layer in kmr.LAYERS.items()
        if keras.saving.get_registered_object(f"{kmr.PACKAGE}>{name}") in (None, layer)
    }
    return {**missing, **{f"{kmr.PACKAGE}>{name}": layer for name, layer in missing.items()}}
