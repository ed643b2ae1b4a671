"""Keras models, live: dot products are read as two tables, every other scorer as its graph."""

from types import SimpleNamespace

import numpy as np
import pytest

from recoserve.bundle.archive import open_bundle
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.program import Program
from recoserve_export.sources import keras as front_end
from recoserve_export.sources import keras_trace
from tests.export.models import brute_force, keras_model, random_tables


def squash(scores):
    return 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
def test_similarity_model_serves_the_models_own_score(axes, normalize, squashed, vectors, target, top_k):
    """Dot over either axis, normalised or not, with or without a sigmoid: the scores are those that Keras computes."""
    model = keras_model(*vectors, normalize=normalize, squash=squashed, axes=axes)

    report = export_model(model, target, similarity="model")

    inner = "cosine" if normalize else "dot"
    assert (f"sigmoid({inner})" if squashed else inner) == report.formula
    rows, scores = top_k(target, range(40), 5)
    users = np.repeat(np.arange(40), 5)
    keras_scores = np.asarray(model.predict([users, rows.reshape(-1)], verbose=0)).reshape(rows.shape)
    assert np.allclose(keras_scores, scores, atol=1e-5)
    expected, order = brute_force(*vectors, 5, cosine=normalize)
    assert order.tolist() == rows.tolist()
    assert np.allclose(squash(expected) if squashed else expected, full_scores(top_k, target), atol=1e-5)
    open_bundle(target)


def full_scores(top_k, target):
    """The scores of all 40 users and 60 items, in row order."""
    rows, scores = top_k(target, range(40), 60)
    in_row_order = np.zeros_like(scores)
    np.put_along_axis(in_row_order, rows, scores, 1)
    return in_row_order


def test_cosine_is_the_default_similarity(vectors, target, top_k):
    """Also of a sigmoid over a dot product."""
    export_model(keras_model(*vectors, squash=True), target)

    assert brute_force(*vectors, 9, cosine=True)[1].tolist() == top_k(target, range(40), 9)[0].tolist()


@pytest.mark.parametrize("scale", [1e-3, 0.05, 20.0])
def test_the_formula_is_recognised_for_fresh_and_for_saturated_weights(scale, target):
    """Also where all scores lie near one half, or near zero and one."""
    model = keras_model(*random_tables(scale=scale), squash=True)

    assert export_model(model, target, similarity="model").formula == "sigmoid(dot)"


def test_the_layers_decide_on_the_formula_where_the_numbers_allow_two(vectors, target):
    """On unit vectors a dot product equals a cosine."""
    unit = [table / np.linalg.norm(table, axis=1, keepdims=True) for table in vectors]

    assert export_model(keras_model(*unit, normalize=True), target).formula == "cosine"


def test_inputs_are_recognised_by_name_in_any_order(vectors, target, top_k):
    """The item's input may come first; the Embedding behind each input is found by walking the graph."""
    users, items = vectors

    export_model(keras_model(items, users, names=("Book", "UserInput")), target)

    assert brute_force(users, items, 3, cosine=True)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


def test_inputs_with_other_names_are_listed_in_a_refusal(vectors, target, assert_nothing_written):
    """The message has every input, and the options that name them."""
    with pytest.raises(ExportRefused, match=r"left, right.*--user-input"):
        export_model(keras_model(*vectors, names=("left", "right")), target)

    assert_nothing_written()
    assert export_model(keras_model(*vectors, names=("left", "right")), target, user_input="left", item_input="right").users == 40


def test_an_input_that_is_not_there_is_named(vectors, target):
    """A misspelt --user-input is an error that lists the inputs."""
    with pytest.raises(ExportRefused, match=r"no 'usr' among them.*user_id, movie_id"):
        export_model(keras_model(*vectors), target, user_input="usr")


def build(score, **inputs):
    """A model over inputs of these row shapes, all int32, weights drawn anew; `score(keras, *tensors)` makes its output."""
    import keras

    keras.utils.set_random_seed(7)
    tensors = [keras.Input(shape, name=name, dtype="int32") for name, shape in inputs.items()]
    model = keras.Model(tensors, score(keras, *tensors))
    rng = np.random.default_rng(7)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 2, weight.shape) if "variance" in weight.path else rng.normal(size=weight.shape) / 2)
    return model


def rows(keras, ids, count, width):
    return keras.layers.Flatten()(keras.layers.Embedding(count, width)(ids))


def joined(keras, user, item, *features):
    tables = ((user, 20, 6), (item, 30, 4), *((feature, 10, 3) for feature in features))
    return keras.layers.Concatenate()([rows(keras, *table) for table in tables])


def perceptron(keras, *ids):
    hidden = keras.layers.Dense(16, activation="relu")(joined(keras, *ids))
    return keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(hidden)))


def normalised(keras, *ids):
    hidden = keras.layers.LayerNormalization()(keras.layers.Dense(16, activation="gelu")(joined(keras, *ids)))
    return keras.layers.Dense(1)(keras.layers.Add()([hidden, keras.layers.Dense(16, activation="tanh")(hidden)]))


def towers(keras, user, item):
    sides = [keras.layers.Dense(8, activation="relu")(rows(keras, *side)) for side in ((user, 20, 6), (item, 30, 4))]
    return keras.layers.Dot(1)([keras.layers.LayerNormalization()(keras.layers.Dense(5)(side)) for side in sides])


def unit_towers(keras, user, item):
    sides = [keras.layers.Dense(8)(rows(keras, *side)) for side in ((user, 20, 6), (item, 30, 4))]
    return keras.layers.Dot(1, normalize=True)([keras.layers.UnitNormalization()(side) for side in sides])


def biased(keras, user, item):
    dot = keras.layers.Dot(1)([rows(keras, user, 20, 6), rows(keras, item, 30, 6)])
    return keras.layers.Activation("sigmoid")(keras.layers.Add()([dot, rows(keras, user, 20, 1), rows(keras, item, 30, 1)]))


def factorised(keras, user, item):
    return keras.layers.Dense(1, activation="sigmoid")(
        keras.layers.Multiply()([rows(keras, user, 20, 6), rows(keras, item, 30, 6)])
    )


def neural(keras, user, item):
    product = keras.layers.Multiply()([rows(keras, user, 20, 6), rows(keras, item, 30, 6)])
    hidden = keras.layers.Dense(8, activation="relu")(joined(keras, user, item))
    return keras.layers.Dense(1, activation="sigmoid")(keras.layers.Concatenate()([product, hidden]))


def arithmetic(keras, user, item):
    users, items = rows(keras, user, 20, 6), rows(keras, item, 30, 6)
    return keras.ops.sigmoid(keras.ops.sum(users * items, axis=-1, keepdims=True) / 3 - 1) * 4 + 2 ** users[:, :1]


def compared(keras, user, item):
    """Integers meet floats in comparisons, too."""
    users, items = rows(keras, user, 20, 6), rows(keras, item, 30, 6)
    return keras.ops.sum(keras.ops.where(users > 0, users * items, 2 * users - items), axis=-1)


def scaled(keras, user, item):
    """A Dot over the last axis of rows that were never flattened: one score in three axes."""
    sides = [keras.layers.Embedding(20, 6)(user), keras.layers.Embedding(30, 6)(item)]
    return keras.layers.Rescaling(2.0)(keras.layers.Dot(2)(sides))


def network_scores(source, values):
    """The scores of the source's graph for each input's values."""
    network = source.network
    dtypes = {name: declared.dtype for name, declared in network.inputs.items()}
    program = Program(network.nodes, network.constants, dtypes, [network.output], network.opset)
    (scores,) = program.run({name: declared.batch(values[name]) for name, declared in network.inputs.items()})
    return scores


PAIR = {"user": (1,), "item": (1,)}


@pytest.mark.parametrize(
    ("score", "inputs"),
    [
        (perceptron, PAIR),
        (perceptron, {**PAIR, "genre": (1,)}),
        (perceptron, {"user": (), "genre": (), "item": ()}),
        (perceptron, {**PAIR, "genres": (3,)}),
        (normalised, PAIR),
        (towers, PAIR),
        (unit_towers, PAIR),
        (biased, PAIR),
        (factorised, PAIR),
        (neural, PAIR),
        (arithmetic, PAIR),
        (compared, PAIR),
        (scaled, PAIR),
    ],
)
def test_a_scorer_of_any_shape_is_read_as_its_graph(score, inputs):
    """The graph in ONNX Runtime and Keras' own forward agree on random pairs; every input but user and item is a feature."""
    if "genre" in inputs and inputs["user"] == ():
        model = build(lambda keras, user, genre, item: perceptron(keras, *(t[:, None] for t in (user, item, genre))), **inputs)
    else:
        model = build(score, **inputs)

    source = front_end.from_model(model)

    rng = np.random.default_rng(0)
    values = {name: rng.integers(0, 10, (300, *shape)) for name, shape in inputs.items()}
    expected, scores = source.scores(values), network_scores(source, values)
    assert (source.user, source.item) == ("user", "item")
    assert source.features == tuple(name for name in inputs if name.startswith("genre"))
    assert inputs == {name: declared.shape for name, declared in source.network.inputs.items()}
    assert (len(expected), scores.size) == (300, 300)
    assert np.ptp(expected) > 0
    assert np.allclose(expected, scores.reshape(-1), rtol=2e-6, atol=2e-6)
    assert np.allclose(expected, np.asarray(model([values[name] for name in inputs]).detach()).reshape(-1), atol=1e-6)


def test_scores_take_one_value_a_row_whatever_shape_the_input_has():
    """[P] and [P, 1] give the same scores where the input has the shape (1,)."""
    source = front_end.from_model(build(perceptron, **PAIR))
    flat = {"user": np.arange(9), "item": np.arange(9)[::-1].copy()}

    assert source.scores({name: values[:, None] for name, values in flat.items()}).tolist() == source.scores(flat).tolist()


def test_float_features_stay_floats():
    """A dense feature of three numbers a row is taken as it is."""
    import keras

    user, item, taste = (keras.Input((size,), name=name) for name, size in (("user", 1), ("item", 1), ("taste", 3)))
    hidden = keras.layers.Concatenate()([rows(keras, user, 20, 6), rows(keras, item, 30, 4), taste])

    source = front_end.from_model(keras.Model([user, item, taste], keras.layers.Dense(1)(hidden)))

    values = {"user": np.arange(20), "item": np.arange(20), "taste": np.random.default_rng(0).normal(size=(20, 3))}
    assert (np.float32, (3,)) == (source.network.inputs["taste"].dtype, source.network.inputs["taste"].shape)
    assert np.allclose(source.scores(values), network_scores(source, values).reshape(-1), atol=1e-6)
    assert "float32 in this model (user, item)" in source.notes[0]


def test_integer_ids_have_no_note():
    """The note on float ids is for models with float ids."""
    assert front_end.from_model(build(perceptron, **PAIR)).notes == ()


def test_an_input_with_feature_values_is_not_taken_for_the_item():
    """`item_genre` looks like an item, and isn't a candidate once it is named as a feature."""
    model = build(perceptron, user=(1,), item_id=(1,), item_genre=(1,))

    assert front_end.from_model(model, features=["item_genre"]).features == ("item_genre",)


@pytest.mark.parametrize("names", [("user-id", "class"), ("user.id", "item id"), ("self", "model")])
def test_inputs_may_have_names_that_no_python_name_can_be(names):
    """The network has them under these names."""
    import keras

    tensors = [keras.Input((1,), name=name) for name in names]
    source = front_end.from_model(keras.Model(tensors, factorised(keras, *tensors)), *names)

    values = dict(zip(names, (np.arange(9), np.arange(9)), strict=True))
    assert list(names) == list(source.network.inputs)
    assert np.allclose(source.scores(values), network_scores(source, values).reshape(-1), atol=1e-6)


def test_a_model_inside_a_model_is_read_too():
    """Towers are often models of their own."""
    import keras

    ids = keras.Input((1,))
    tower = keras.Model(ids, keras.layers.Dense(4)(rows(keras, ids, 30, 6)))
    source = front_end.from_model(build(lambda keras, user, item: keras.layers.Dot(1)([tower(user), tower(item)]), **PAIR))

    values = {"user": np.arange(9), "item": np.arange(9)[::-1]}
    assert np.allclose(source.scores(values), network_scores(source, values).reshape(-1), rtol=2e-6)


def test_a_model_keeps_its_mode_and_its_weights():
    """An export in the middle of training changes nothing."""
    model = build(perceptron, **PAIR)
    model.train()
    before = [weight.numpy().copy() for weight in model.weights]

    front_end.from_model(model).scores({"user": np.arange(9), "item": np.arange(9)})

    assert model.training
    assert all(layer.training for layer in model.layers)
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, model.weights, strict=True))


def test_one_side_of_length_1_is_no_cosine():
    """With only the item's rows normalised the score is neither form of the tables, so the graph is read."""
    model = build(
        lambda keras, user, item: keras.layers.Dot(1)(
            [rows(keras, user, 20, 6), keras.layers.UnitNormalization()(rows(keras, item, 30, 6))]
        ),
        **PAIR,
    )

    assert not isinstance(front_end.from_model(model), DotSource)


def subclassed(keras):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    return Own()


def two_outputs(keras):
    model = build(perceptron, **PAIR)
    return keras.Model(model.inputs, [model.output, model.layers[-2].output])


def pooled(keras, user, item, genres):
    genre = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 3)(genres))
    return keras.layers.Dense(1)(keras.layers.Concatenate()([joined(keras, user, item), genre]))


def text(keras):
    inputs = [keras.Input((1,), name=name, dtype="string" if name == "user" else "int32") for name in PAIR]
    return keras.Model(inputs, keras.layers.Identity()(inputs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (subclassed, r"has no graph: build a functional model"),
        (lambda keras: keras.Sequential([keras.Input((1,), name="user"), keras.layers.Dense(1)]), "only one input, user;"),
        (two_outputs, r"2 outputs \('dense\w*', 'dropout\w*'\)"),
        (lambda _: build(perceptron, user=(1,), item=(100,)), r"input 'item' takes \[100\] ids at a time"),
        (lambda _: build(joined, **PAIR), r"Concatenate 'concatenate\w*' gives \[10\] numbers instead of one score"),
        (lambda _: build(lambda keras, user, item, _idle: factorised(keras, user, item), **PAIR, idle=(1,)), "'idle'"),
        (lambda _: build(factorised, left=(1,), right=(1,)), r"left, right.*--user-input"),
        (text, r"input 'user' takes text"),
        (lambda _: build(pooled, **PAIR, genres=(None,)), r"input 'genres' takes rows of any length"),
    ],
)
def test_what_is_no_scorer_of_pairs_is_refused_by_name(make, message):
    """The message names the input, the output or the layer, and what to do."""
    import keras

    with pytest.raises(ExportRefused, match=message):
        front_end.from_model(make(keras))


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "bfloat16"])
def test_half_precision_in_any_layer_is_refused(policy):
    """The layer is named."""
    model = build(lambda keras, *ids: keras.layers.Dense(1, dtype=policy, name="coarse")(joined(keras, *ids)), **PAIR)

    with pytest.raises(ExportRefused, match=r"layer 'coarse' .*float16"):
        front_end.from_model(model)


def test_only_dot_products_are_exported_on_another_backend():
    """Without torch there is nothing to trace with: the message says to save the model and to export the file."""
    elsewhere = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax"))

    with pytest.raises(ExportRefused, match=r"runs on jax here.*export the file with KERAS_BACKEND=torch"):
        keras_trace.trace(elsewhere, build(perceptron, **PAIR))


def test_inputs_may_be_a_dictionary(vectors, target):
    """Models built over {"user": …, "item": …} are functional models like any other; so is one with a dictionary of one score."""
    import keras

    inputs = {name: keras.Input((), name=name, dtype="int32") for name in ("user", "item")}
    rows = [keras.layers.Embedding(9, 4)(inputs["user"]), keras.layers.Embedding(11, 4)(inputs["item"])]

    report = export_model(keras.Model(inputs, {"score": keras.layers.Dot(1)(rows)}), target)

    assert (report.users, report.items, report.formula) == (9, 11, "dot")


def test_half_precision_is_too_coarse_for_a_parity_check(target):
    """The message says how to get a float32 copy."""
    import keras

    inputs = [keras.Input((1,), name=name) for name in ("user", "item")]
    rows = [keras.layers.Flatten()(keras.layers.Embedding(5, 4, dtype="mixed_bfloat16")(tensor)) for tensor in inputs]

    with pytest.raises(ExportRefused, match="bfloat16"):
        export_model(keras.Model(inputs, keras.layers.Dot(1)(rows)), target)
