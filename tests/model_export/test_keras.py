"""Keras dot models, live and from files."""

import numpy as np
import pytest

from model_export import export_model
from service.bundle.archive import open_bundle
from service.errors import ExportRefused
from tests.model_export.models import brute_force, keras_model, random_tables


def squash(scores):
    return 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
def test_the_models_own_score_is_served_where_it_is_asked_for(axes, normalize, squashed, vectors, target, ask):
    """Dot over either axis, normalised or not, with or without a sigmoid: `model` answers with what Keras computes."""
    model = keras_model(*vectors, normalize=normalize, squash=squashed, axes=axes)

    report = export_model(model, target, similarity="model")

    inner = "cosine" if normalize else "dot"
    assert (f"sigmoid({inner})" if squashed else inner) == report.formula
    rows, scores = ask(target, range(40), 5)
    users = np.repeat(np.arange(40), 5)
    own = np.asarray(model.predict([users, rows.reshape(-1)], verbose=0)).reshape(rows.shape)
    assert np.allclose(own, scores, atol=1e-5)
    expected, order = brute_force(*vectors, 5, cosine=normalize)
    assert order.tolist() == rows.tolist()
    assert np.allclose(squash(expected) if squashed else expected, full_scores(ask, target), atol=1e-5)
    open_bundle(target)


def full_scores(ask, target):
    rows, scores = ask(target, range(40), 60)
    placed = np.zeros_like(scores)
    np.put_along_axis(placed, rows, scores, 1)
    return placed


def test_cosine_is_served_unless_told_otherwise(vectors, target, ask):
    """A sigmoid over a dot product ranks by cosine when nothing else is asked for."""
    export_model(keras_model(*vectors, squash=True), target)

    assert brute_force(*vectors, 9, cosine=True)[1].tolist() == ask(target, range(40), 9)[0].tolist()


@pytest.mark.parametrize("scale", [1e-3, 0.05, 20.0])
def test_the_form_is_told_apart_for_fresh_and_for_saturated_weights(scale, target):
    """Scores that all lie near one half, or near zero and one, still give the formula away."""
    model = keras_model(*random_tables(scale=scale), squash=True)

    assert export_model(model, target, similarity="model").formula == "sigmoid(dot)"


def test_the_graphs_own_form_is_taken_where_the_numbers_leave_it_open(vectors, target):
    """On unit vectors a dot product is a cosine; then the model's structure tells which is meant."""
    unit = [table / np.linalg.norm(table, axis=1, keepdims=True) for table in vectors]

    assert export_model(keras_model(*unit, normalize=True), target).formula == "cosine"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_is_exported_from_its_file(suffix, vectors, tmp_path, target, ask):
    """The bundle carries the file's stem as its name and the file's digest as its provenance."""
    saved = tmp_path / f"films{suffix}"
    keras_model(*vectors).save(saved)

    export_model(saved, target.parent / "films")

    found = open_bundle(target.parent / "films").manifest
    assert (found.name, len(found.source["file_digest"])) == ("films", 64)
    assert brute_force(*vectors, 4, cosine=True)[1].tolist() == ask(target.parent / "films", range(40), 4)[0].tolist()


def test_inputs_are_told_by_name_in_whatever_order_they_stand(vectors, target, ask):
    """The item's input may come first; the Embedding behind each input is found by walking the graph."""
    users, items = vectors

    export_model(keras_model(items, users, names=("Book", "UserInput")), target)

    assert brute_force(users, items, 3, cosine=True)[1].tolist() == ask(target, range(40), 3)[0].tolist()


def test_inputs_that_no_name_tells_apart_are_listed(vectors, target, nothing_left):
    """The message names every input and the options that settle it."""
    with pytest.raises(ExportRefused, match=r"left, right.*--user-input"):
        export_model(keras_model(*vectors, names=("left", "right")), target)

    nothing_left()
    assert export_model(keras_model(*vectors, names=("left", "right")), target, user_input="left", item_input="right").users == 40


def test_an_input_that_is_not_there_is_named(vectors, target):
    """A misspelt --user-input is an error that lists the inputs."""
    with pytest.raises(ExportRefused, match=r"no 'usr' among them.*user_id, movie_id"):
        export_model(keras_model(*vectors), target, user_input="usr")


@pytest.mark.parametrize(
    ("through", "kind"),
    [
        (lambda keras, score: keras.layers.Dense(1)(score), "Dense"),
        (lambda keras, score: keras.layers.Activation("tanh")(score), "Activation"),
        (lambda keras, score: keras.layers.Rescaling(2.0)(score), "Rescaling"),
    ],
)
def test_a_model_with_more_than_a_dot_product_is_refused(through, kind, vectors, target, nothing_left):
    """The layer that is too many is named, and what is supported is said."""
    with pytest.raises(ExportRefused, match=rf"{kind} layer.*Supported is"):
        export_model(keras_model(*vectors, through=through), target)

    nothing_left()


def test_a_dense_tower_is_refused(vectors, target):
    """What feeds the Dot has to be an Embedding's own rows."""
    import keras

    inputs = [keras.Input((1,), name=name) for name in ("user", "item")]
    rows = [keras.layers.Flatten()(keras.layers.Embedding(5, 4)(tensor)) for tensor in inputs]
    towers = [keras.layers.Dense(4)(rows[0]), rows[1]]

    with pytest.raises(ExportRefused, match="Dense"):
        export_model(keras.Model(inputs, keras.layers.Dot(1)(towers)), target)


def test_a_subclassed_model_has_no_graph_to_read(target):
    """It is refused in words, not with a traceback."""
    import keras

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ExportRefused, match="no graph to read"):
        export_model(Own(), target)


def test_inputs_may_be_a_dictionary(vectors, target):
    """Models built over {"user": …, "item": …} are functional models like any other."""
    import keras

    inputs = {name: keras.Input((), name=name, dtype="int32") for name in ("user", "item")}
    rows = [keras.layers.Embedding(9, 4)(inputs["user"]), keras.layers.Embedding(11, 4)(inputs["item"])]

    report = export_model(keras.Model(inputs, keras.layers.Dot(1)(rows)), target)

    assert (report.users, report.items, report.formula) == (9, 11, "dot")


def test_half_precision_is_too_coarse_for_a_parity_check(target):
    """The message says how to get a float32 copy."""
    import keras

    inputs = [keras.Input((1,), name=name) for name in ("user", "item")]
    rows = [keras.layers.Flatten()(keras.layers.Embedding(5, 4, dtype="mixed_bfloat16")(tensor)) for tensor in inputs]

    with pytest.raises(ExportRefused, match="bfloat16"):
        export_model(keras.Model(inputs, keras.layers.Dot(1)(rows)), target)


def test_a_lambda_layer_from_a_file_is_never_run(vectors, tmp_path, target):
    """Safe mode refuses it; the message says why and what to do."""
    saved = tmp_path / "lambda.keras"
    keras_model(*vectors, through=lambda keras, score: keras.layers.Lambda(lambda x: x * 1)(score)).save(saved)

    with pytest.raises(ExportRefused, match="safe mode"):
        export_model(saved, target)


@pytest.mark.parametrize(("name", "message"), [("a.keras", "can't load"), ("a.weights.h5", "weights and no model")])
def test_files_that_hold_no_model_are_refused(name, message, tmp_path, target):
    """Damaged files and bare weights."""
    (tmp_path / name).write_bytes(b"not a model")

    with pytest.raises(ExportRefused, match=message):
        export_model(tmp_path / name, target)
