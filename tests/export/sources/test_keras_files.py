"""Keras models from files: of Keras 3 and 2, with classes of their own, with code in them, and damaged."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from recoserve.bundle.archive import open_bundle
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.sources import keras as front_end
from recoserve_export.sources import keras_file
from tests.export.models import brute_force, keras_model

SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".h5"])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_is_exported_from_its_file(suffix, vectors, tmp_path, target, top_k):
    """The bundle carries the file's stem as its name and the file's digest as its provenance."""
    saved = tmp_path / f"films{suffix}"
    keras_model(*vectors).save(saved)

    export_model(saved, target.parent / "films")

    manifest = open_bundle(target.parent / "films").manifest
    assert (manifest.name, len(manifest.source["file_digest"])) == ("films", 64)
    assert brute_force(*vectors, 4, cosine=True)[1].tolist() == top_k(target.parent / "films", range(40), 4)[0].tolist()


def scorer(last, **inputs):
    """Embeddings of every input joined, and `last(keras, joined)` as the score."""
    import keras

    tensors = [keras.Input(shape, name=name) for name, shape in (inputs or {"user": (1,), "item": (1,)}).items()]
    rows = [keras.layers.Flatten()(keras.layers.Embedding(9, 4)(tensor)) for tensor in tensors]
    return keras.Model(tensors, last(keras, keras.layers.Concatenate()(rows)))


def loaded(path, *, trust=False):
    """The model of a file, without the checks of its graph."""
    import keras

    return keras_file.load(keras, path, trust)


def dense(keras, joined):
    return keras.layers.Dense(1, name="score")(keras.layers.BatchNormalization()(joined))


@SUFFIXES
def test_a_scorer_comes_back_from_its_file_as_it_was(suffix, tmp_path):
    """Its scores are those of the live model; name and digest are the file's."""
    model, saved = scorer(dense, user=(1,), movie=(1,), genre=(1,)), tmp_path / f"taste{suffix}"
    model.save(saved)

    source = front_end.load(saved)

    values = {name: np.arange(9) for name in ("user", "movie", "genre")}
    assert front_end.from_model(model).scores(values).tolist() == source.scores(values).tolist()
    assert (source.name, source.user, source.item, source.features) == ("taste", "user", "movie", ("genre",))
    assert len(source.digest) == 64


def keras_2_layer(class_name, name, *parents, **config):
    inbound = [[[parent, 0, 0, {}] for parent in parents]] if parents else []
    return {"class_name": class_name, "config": {"name": name, **config}, "name": name, "inbound_nodes": inbound}


def keras_2_file(path, tables, *, nested):
    """Write a file as Keras 2 did: `batch_input_shape`, float32 ids, names in lists, no modules; with `nested`, names in names."""
    layers = []
    for side, table in tables.items():
        layers += [
            keras_2_layer("InputLayer", side, batch_input_shape=[None, 1], dtype="float32", sparse=False),
            keras_2_layer(
                "Embedding",
                f"{side}_table",
                side,
                batch_input_shape=[None, 1],
                dtype="float32",
                input_dim=len(table),
                output_dim=table.shape[1],
                embeddings_initializer={"class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05, "seed": None}},
                embeddings_regularizer=None,
                mask_zero=False,
                input_length=1,
            ),
            keras_2_layer("Flatten", f"{side}_row", f"{side}_table", dtype="float32", data_format="channels_last"),
        ]
    layers += [
        keras_2_layer("Dot", "dot", *(f"{side}_row" for side in tables), dtype="float32", axes=1, normalize=False),
        keras_2_layer("Activation", "score", "dot", dtype="float32", activation="sigmoid"),
    ]
    config = {"name": "model_1", "layers": layers, "input_layers": [[side, 0, 0] for side in tables]}
    model = {"class_name": "Model", "config": {**config, "output_layers": [["score", 0, 0]]}}
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": b"2.4.0", "backend": b"tensorflow", "model_config": json.dumps(model).encode()})
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer["name"].encode() for layer in layers]
        for layer in layers:
            group, side = weights.create_group(layer["name"]), layer["name"].removesuffix("_table")
            weight_name = f"{layer['name']}/embeddings:0" if nested else "embeddings:0"
            group.attrs["weight_names"] = [weight_name.encode()] if layer["class_name"] == "Embedding" else np.zeros(0, "S1")
            if layer["class_name"] == "Embedding":
                group[weight_name] = tables[side]


@pytest.mark.parametrize("nested", [True, False])
def test_a_file_of_keras_2_is_read(nested, vectors, tmp_path):
    """The tables arrive in their own order, and the score is the one that Keras 2 would have given."""
    users, items = vectors
    keras_2_file(tmp_path / "old.h5", {"user": users, "item": items}, nested=nested)

    source = front_end.load(tmp_path / "old.h5")

    assert isinstance(source, DotSource)
    assert (np.array_equal(source.users.values, users), np.array_equal(source.items.values, items)) == (True, True)
    expected = 1 / (1 + np.exp(-brute_force(users, items, 1)[0][np.arange(9), np.arange(9)]))
    assert np.allclose(source.scores(np.arange(9), np.arange(9)), expected, atol=1e-6)


def test_operations_of_tensorflow_inside_a_keras_2_model_are_named(vectors, tmp_path):
    """Keras 3 has nothing to load them with."""
    keras_2_file(tmp_path / "old.h5", {"user": vectors[0], "item": vectors[1]}, nested=True)
    with h5py.File(tmp_path / "old.h5", "a") as file:
        config = str(np.asarray(file.attrs["model_config"]).astype(str))
        file.attrs["model_config"] = config.replace('"Dot"', '"TFOpLambda"')

    with pytest.raises(ExportRefused, match=r"layer 'dot' is a TFOpLambda.*Keras 3"):
        front_end.load(tmp_path / "old.h5")


def rewritten(path, change):
    """The same `.keras` file with `change(config.json's text)` in it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, change(data.decode()) if name == "config.json" else data)


def test_a_keras_file_of_keras_2_says_how_to_save_it_anew(tmp_path):
    """Its own `.keras` format is another one."""
    saved = tmp_path / "old.keras"
    scorer(dense).save(saved)
    rewritten(saved, lambda text: text.replace('"keras.src.models.functional"', '"tf_keras.src.engine.functional"'))
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.21.0"}))

    with pytest.raises(ExportRefused, match=r"saved by Keras 2.*save it as \.h5"):
        front_end.load(saved)


def payload(path):
    """A function that leaves a file behind whenever it runs; `Lambda` keeps its code, `path` included, in the model's file."""
    return eval(f"lambda x: (open({str(path)!r}, 'w').close(), x)[1]")  # noqa: S307  # a closure wouldn't be saved


def on_top(function, joined):
    import keras

    return keras.layers.Lambda(function, name="trick")(keras.layers.Dense(1)(joined))


def inside(function, joined):
    import keras

    inner = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(function, name="trick")])
    return inner(keras.layers.Dense(1)(joined))


def wrapped(function, joined):
    import keras

    layer = keras.layers.Lambda(function, name="trick")
    rows = keras.layers.Reshape((1, 1))(keras.layers.Dense(1)(joined))
    return keras.layers.Flatten()(keras.layers.TimeDistributed(layer)(rows))


@SUFFIXES
@pytest.mark.parametrize("add_lambda", [on_top, inside, wrapped])
def test_a_lambda_layer_is_refused_and_its_code_never_runs(add_lambda, suffix, tmp_path):
    """Wherever it stands, the message names the layer, and the file that its code would write isn't there."""
    trace, saved = tmp_path / "was-here", tmp_path / f"trick{suffix}"
    scorer(lambda _, joined: add_lambda(payload(trace), joined)).save(saved)
    trace.unlink(missing_ok=True)

    with pytest.raises(ExportRefused, match=r"layer 'trick' is or has a [Ll]ambda, which keeps Python code.*--trust"):
        front_end.load(saved)

    assert not trace.exists()


@SUFFIXES
def test_trust_loads_a_lambda_layer(suffix, tmp_path):
    """Then its code runs and writes its file, which shows that the other tests would see it if it ran."""
    trace, saved = tmp_path / "was-here", tmp_path / f"trick{suffix}"
    model = scorer(lambda _, joined: on_top(payload(trace), joined))
    model.save(saved)
    trace.unlink(missing_ok=True)

    reloaded = loaded(saved, trust=True)

    assert trace.exists()
    ids = [np.arange(9)[:, None]] * 2
    assert model(ids).tolist() == reloaded(ids).tolist()


@pytest.mark.parametrize("kind", ["TorchModuleWrapper", "TFSMLayer", "JaxLayer", "layers.Lambda", "any>Lambda"])
def test_layers_that_carry_programs_are_refused_under_any_spelling(kind, tmp_path):
    """Pickles and foreign programs in a file are code as well."""
    saved = tmp_path / "trick.keras"
    scorer(dense).save(saved)
    rewritten(saved, lambda text: text.replace('"Dense"', json.dumps(kind)))

    with pytest.raises(
        ExportRefused, match=rf"layer 'score' is or has a {kind.split('.')[-1].split('>')[-1]}, .* nothing was loaded"
    ):
        front_end.load(saved)


def own_class(register):
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return keras.saving.register_keras_serializable("taste")(Doubled) if register else Doubled


@SUFFIXES
@pytest.mark.parametrize(("registered", "shown"), [(False, "Doubled"), (True, "taste>Doubled")])
def test_a_class_that_is_not_here_is_named(registered, shown, suffix, tmp_path):
    """The message says where it has to be registered, and that a live model needs no file."""
    import keras

    layer, saved = own_class(registered)(name="twice"), tmp_path / f"own{suffix}"
    scorer(lambda keras, joined: layer(dense(keras, joined))).save(saved)
    keras.saving.get_custom_objects().clear()

    with pytest.raises(ExportRefused, match=rf"layer 'twice' needs '{shown}'.*register_keras_serializable"):
        front_end.load(saved)


@SUFFIXES
def test_a_registered_class_loads(suffix, tmp_path):
    """The program that defines it has registered it before."""
    saved = tmp_path / f"own{suffix}"
    layer = own_class(register=True)()
    scorer(lambda keras, joined: layer(dense(keras, joined))).save(saved)

    assert loaded(saved).count_params() > 0


@SUFFIXES
def test_a_function_that_is_not_here_is_named(suffix, tmp_path):
    """A custom activation is missing as a custom class is."""
    saved = tmp_path / f"own{suffix}"

    def leap(inputs):
        return inputs * 3

    scorer(lambda keras, joined: keras.layers.Dense(1, activation=leap, name="score")(joined)).save(saved)

    with pytest.raises(ExportRefused, match="layer 'score' needs 'leap'"):
        front_end.load(saved)


@SUFFIXES
def test_functions_of_keras_own_load(suffix, tmp_path):
    """By name, or as the function itself."""
    import keras

    saved = tmp_path / f"taste{suffix}"
    last = keras.layers.Dense(1, activation=keras.activations.softplus, kernel_initializer="he_normal", kernel_regularizer="l2")
    scorer(lambda keras, joined: last(keras.layers.Dense(3, activation=keras.ops.tanh)(joined))).save(saved)

    assert loaded(saved).layers[-1].activation is keras.activations.softplus


@pytest.mark.parametrize("module", ["keras.utils", "keras.saving", "os", "keras.src.utils.file_utils"])
def test_functions_that_are_no_part_of_models_are_refused(module, tmp_path):
    """A file can't have just any function of Keras or Python called."""
    saved = tmp_path / "trick.keras"
    scorer(lambda keras, joined: keras.layers.Dense(1, activation="relu", name="score")(joined)).save(saved)
    called = json.dumps({"module": module, "class_name": "function", "config": "remove", "registered_name": "remove"})
    rewritten(saved, lambda text: text.replace('"activation": "relu"', f'"activation": {called}'))

    with pytest.raises(ExportRefused, match="layer 'score' needs 'remove'"):
        front_end.load(saved)


def test_a_custom_loss_is_ignored(tmp_path):
    """The loss and the optimizer that a model was trained with aren't loaded."""
    model, saved = scorer(dense), tmp_path / "taste.keras"

    def squared(ratings, scores):
        return (ratings - scores) ** 2

    model.compile("adam", loss=squared)
    model.save(saved)

    assert loaded(saved).compiled is False


@SUFFIXES
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.7, 0.97])
def test_a_file_that_was_cut_off_is_refused(share, suffix, tmp_path):
    """At any length; an error of Keras or h5py never comes through."""
    saved = tmp_path / f"cut{suffix}"
    scorer(dense).save(saved)
    body = saved.read_bytes()
    saved.write_bytes(body[: int(len(body) * share)])

    with pytest.raises(ExportRefused, match="can't load it"):
        front_end.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-9], "description in it is damaged"),
        (lambda _: "[]", "description in it is damaged"),
        (lambda _: "[" * 100_000, "description in it is damaged"),
        (lambda _: "{}", "can't load it"),
        (lambda text: text.replace('"units": 1', '"units": 7'), "can't load it"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(change, message, tmp_path):
    """Whatever stands in config.json, the error is an ExportRefused."""
    saved = tmp_path / "odd.keras"
    scorer(dense).save(saved)
    rewritten(saved, change)

    with pytest.raises(ExportRefused, match=message):
        front_end.load(saved)


def test_a_file_without_the_weights_of_a_list_of_layers_is_refused(tmp_path):
    """Keras would warn, and fill them with random numbers."""
    import keras

    @keras.saving.register_keras_serializable("taste")
    class Stack(keras.layers.Layer):
        def build(self, shape):
            self.steps = [[keras.layers.Dense(1)]]
            self.steps[0][0].build(shape)

        def call(self, inputs):
            return self.steps[0][0](inputs)

    saved = tmp_path / "stack.keras"
    scorer(lambda _, joined: Stack(name="stack")(joined)).save(saved)
    assert loaded(saved).get_layer("stack").built
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "weights.h5").write_bytes(members["model.weights.h5"])
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        del file["layers/stack/steps"]
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in {**members, "model.weights.h5": (tmp_path / "weights.h5").read_bytes()}.items():
            archive.writestr(name, data)

    with pytest.raises(ExportRefused, match="weights"):
        front_end.load(saved)


def test_bare_weights_are_refused(tmp_path):
    """Users can't be told from items in them: under the name that Keras gives such a file, and under any other."""
    for name in ("taste.weights.h5", "taste.h5"):
        scorer(dense).save_weights(tmp_path / "taste.weights.h5")
        (tmp_path / "taste.weights.h5").rename(tmp_path / name)

        with pytest.raises(ExportRefused, match="weights and no model"):
            front_end.load(tmp_path / name)
