"""Keras: functional models as tutorials build them."""

from collections.abc import Callable
from typing import Any

from tests.export.unseen.case import GENRES, MOST_TAGS, TAGS, Cases

CASES = Cases()

DTYPES = {"genres": "float32", "popularity": "float32", "year": "float32", "dense": "float32", "price": "float32"}
SHAPES = {"genres": (GENRES,), "tags": (MOST_TAGS,), "dense": (5,)}


def scorer(*features: str, **options: Any) -> Callable[[Any], Any]:
    """Register `score(keras, sides, *features)` as the model it makes; `sides(width)` are a user's and an item's new vectors."""

    def register(score: Any) -> Any:
        def build(users: int, items: int) -> Any:
            import keras

            keras.utils.set_random_seed(1)
            inputs = {
                name: keras.Input(SHAPES.get(name, (1,)), name=name, dtype=DTYPES.get(name, "int32"))
                for name in ("user", "movie", *features)
            }

            def sides(width: int) -> list[Any]:
                return [vector(keras, inputs[name], rows, width) for name, rows in (("user", users), ("movie", items))]

            return keras.Model(list(inputs.values()), score(keras, sides, *(inputs[name] for name in features)))

        build.__name__ = score.__name__
        return CASES.add(*features, **options)(build)

    return register


def vector(keras: Any, ids: Any, rows: int, width: int) -> Any:
    return keras.layers.Flatten()(keras.layers.Embedding(rows, width)(ids))


@scorer("genre")
def keras_deep_fm(keras: Any, sides: Any, genre: Any) -> Any:
    layers = keras.layers
    vectors = [*sides(6), vector(keras, genre, GENRES, 6)]
    pairs = [layers.Dot(1)([vectors[a], vectors[b]]) for a, b in ((0, 1), (0, 2), (1, 2))]
    deep = layers.Dense(1)(layers.Dropout(0.4)(layers.Dense(12, activation="relu")(layers.Concatenate()(vectors))))
    return layers.Activation("sigmoid")(layers.Add()([*pairs, deep, *sides(1)]))


@scorer("year", "popularity")
def keras_normalised_numbers(keras: Any, sides: Any, year: Any, popularity: Any) -> Any:
    numbers = [
        keras.layers.Normalization(mean=1980.0, variance=400.0)(year),
        keras.layers.Normalization(mean=60.0, variance=9000.0)(popularity),
    ]
    joined = keras.layers.Concatenate()([*sides(5), *numbers])
    return keras.layers.Dense(1)(keras.layers.Dense(9, activation="gelu")(joined))


@scorer()
def keras_five_stars(keras: Any, sides: Any) -> Any:
    users, items = sides(8)
    dot = keras.layers.Dot(1)([keras.layers.Dense(8, use_bias=False)(users), items])
    rated = keras.layers.Activation("sigmoid")(keras.layers.Add()([dot, *sides(1)]))
    return keras.layers.Rescaling(4.5, offset=0.5)(rated)


@scorer()
def keras_cosine_and_biases(keras: Any, sides: Any) -> Any:
    return keras.layers.Add()([keras.layers.Rescaling(3.0)(keras.layers.Dot(1, normalize=True)(sides(8))), *sides(1)])


@scorer("genre")
def keras_attention(keras: Any, sides: Any, genre: Any) -> Any:
    layers = keras.layers
    tokens = [layers.Reshape((1, 8))(vectors) for vectors in (*sides(8), vector(keras, genre, GENRES, 8))]
    tokens = layers.Concatenate(axis=1)(tokens)
    mixed = layers.LayerNormalization()(layers.Add()([layers.MultiHeadAttention(2, 4)(tokens, tokens), tokens]))
    return layers.Dense(1)(layers.GlobalAveragePooling1D()(mixed))


@scorer()
def keras_outer_product(keras: Any, sides: Any) -> Any:
    layers = keras.layers
    users, items = sides(6)
    outer = layers.Dot(axes=(2, 1))([layers.Reshape((6, 1))(users), layers.Reshape((1, 6))(items)])
    image = layers.Conv2D(3, 2, activation="relu")(layers.Reshape((6, 6, 1))(outer))
    return layers.Dense(1, activation="tanh")(layers.Flatten()(layers.MaxPooling2D()(image)))


@scorer("tags")
def keras_masked_tags(keras: Any, sides: Any, tags: Any) -> Any:
    layers = keras.layers
    users, items = sides(7)
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(TAGS, 7, mask_zero=True)(tags))
    return layers.Dot(1)([users, layers.Add()([items, pooled])])


@scorer("genres")
def keras_two_towers(keras: Any, sides: Any, genres: Any) -> Any:
    layers = keras.layers
    users, items = sides(8)
    items = layers.Dense(8, activation="swish")(layers.Concatenate()([items, genres]))
    users = layers.BatchNormalization()(layers.Dense(8, activation="elu")(users))
    return layers.Dot(1)([layers.UnitNormalization()(users), layers.UnitNormalization()(items)])


@scorer()
def keras_distance(keras: Any, sides: Any) -> Any:
    gap = keras.layers.Subtract()(sides(6))
    return -keras.ops.sqrt(keras.ops.sum(keras.ops.square(gap), axis=1, keepdims=True) + 1e-9)


@scorer()
def keras_maximum(keras: Any, sides: Any) -> Any:
    layers = keras.layers
    users, items = sides(6)
    joined = layers.Concatenate()(
        [layers.Maximum()([users, items]), layers.Average()([users, items]), layers.Multiply()([users, items])]
    )
    return layers.Dense(1)(layers.PReLU()(layers.BatchNormalization()(joined)))


@scorer()
def keras_expected_rating(keras: Any, sides: Any) -> Any:
    hidden = keras.layers.Dense(5, activation="softmax")(keras.layers.Concatenate()(sides(6)))
    return keras.ops.matmul(hidden, keras.ops.reshape(keras.ops.arange(1.0, 6.0), (5, 1)))


@scorer()
def keras_residual(keras: Any, sides: Any) -> Any:
    layers = keras.layers
    hidden = layers.Concatenate()(sides(6))
    for _ in range(2):
        hidden = layers.Add()([hidden, layers.Dense(12, activation="softplus")(layers.LayerNormalization()(hidden))])
    return layers.Dense(1, activation="sigmoid")(hidden)


@scorer()
def keras_gates(keras: Any, sides: Any) -> Any:
    layers = keras.layers
    users, items = sides(6)
    gate = layers.Dense(3, activation="softmax")(users)
    experts = layers.Concatenate()(
        [layers.Dense(1)(layers.Dense(6, activation="relu")(layers.Concatenate()([users, items]))) for _ in range(3)]
    )
    return layers.Dot(1)([gate, experts])


@scorer("tags")
def keras_reader(keras: Any, sides: Any, tags: Any) -> Any:
    users, items = sides(6)
    return keras.layers.Dot(1)([users, keras.layers.Add()([items, keras.layers.GRU(6)(keras.layers.Embedding(TAGS, 4)(tags))])])


ODD = Cases()


def odd(*features: str, **options: Any) -> Callable[[Any], Any]:
    """Register a scorer that may be refused."""

    def register(score: Any) -> Any:
        scorer(*features, **options)(score)
        ODD[score.__name__] = CASES.pop(score.__name__)
        return score

    return register


@odd(refusal="random numbers")
def keras_dropout_in_use(keras: Any, sides: Any) -> Any:
    return keras.layers.Dense(1)(keras.layers.Dropout(0.5)(keras.layers.Concatenate()(sides(6)), training=True))


@odd(refusal="pairs scored beside it")
def keras_batch_statistics(keras: Any, sides: Any) -> Any:
    return keras.layers.Dense(1, activation="tanh")(
        keras.layers.BatchNormalization()(keras.layers.Concatenate()(sides(6)), training=True)
    )


@odd(refusal="pairs scored beside it")
def keras_softmax_of_batch(keras: Any, sides: Any) -> Any:
    return keras.layers.Softmax(axis=0)(keras.layers.Dot(1)(sides(6)))


@odd(refusal="one score for each pair")
def keras_two_columns(keras: Any, sides: Any) -> Any:
    return keras.layers.Dense(2, activation="softmax")(keras.layers.Concatenate()(sides(6)))


@odd(refusal="random numbers")
def keras_noise(keras: Any, sides: Any) -> Any:
    return keras.layers.GaussianNoise(0.1)(keras.layers.Dot(1)(sides(6)), training=True)


@odd(refusal="2 outputs")
def keras_two_outputs(keras: Any, sides: Any) -> Any:
    users, items = sides(6)
    return [keras.layers.Dot(1)([users, items]), keras.layers.Dense(1)(items)]


@scorer("genre")
def keras_one_hot(keras: Any, sides: Any, genre: Any) -> Any:
    users, items = sides(6)
    genres = keras.layers.CategoryEncoding(GENRES, output_mode="one_hot")(genre)
    return keras.layers.Dot(1)([users, keras.layers.Add()([items, keras.layers.Dense(6)(genres)])])


@scorer("year")
def keras_decades(keras: Any, sides: Any, year: Any) -> Any:
    users, items = sides(6)
    decade = keras.layers.Discretization([1940.0, 1960.0, 1980.0, 2000.0])(year)
    return keras.layers.Dot(1)([users, keras.layers.Add()([items, vector(keras, decade, 5, 6)])])


@scorer()
def keras_nested(keras: Any, sides: Any) -> Any:
    """Towers that are models of their own, one of them used for both sides."""
    rows = keras.Input((6,))
    hidden = keras.layers.Dense(6, activation="tanh")(rows)
    tower = keras.Model(rows, keras.layers.LayerNormalization()(keras.layers.Add()([rows, hidden])))
    users, items = (tower(vectors) for vectors in sides(6))
    return keras.layers.Activation("sigmoid")(keras.layers.Dot(1)([users, items]))


@scorer()
def keras_clipped(keras: Any, sides: Any) -> Any:
    return keras.ops.clip(3.5 + keras.layers.Add()([keras.layers.Dot(1)(sides(6)), *sides(1)]), 0.5, 5.0)
