"""The seeds in Keras, as their users write them: functional models for ml-latest-small, ids of shape (1,)."""

from typing import Any

import keras
from keras import Model, layers

from recoserve_bench.seeds.data import GENRES, MARKS, MOVIES, USERS

Tensor = Any  # Keras has no types


def _inputs(*further: str) -> list[Tensor]:
    return [keras.Input((1,), name=name, dtype="int64") for name in ("user", "movie", *further)]


def _row(ids: Tensor, count: int, width: int, name: str) -> Tensor:
    return layers.Flatten()(layers.Embedding(count, width, name=name)(ids))


def _rows(user: Tensor, movie: Tensor, width: int = 32) -> list[Tensor]:
    return [_row(user, USERS, width, "user_embedding"), _row(movie, MOVIES, width, "movie_embedding")]


def dot() -> Model:
    """Row a: two embeddings, Flatten, Dot(axes=1), sigmoid."""
    user, movie = _inputs()
    score = layers.Dot(axes=1)(_rows(user, movie))
    return Model([user, movie], layers.Activation("sigmoid")(score))


def cosine() -> Model:
    """Row a with normalize=True."""
    user, movie = _inputs()
    score = layers.Dot(axes=1, normalize=True)(_rows(user, movie))
    return Model([user, movie], layers.Activation("sigmoid")(score))


def dot_of_columns() -> Model:
    """Row a with Dot(axes=2) over vectors that weren't flattened."""
    user, movie = _inputs()
    vectors = [layers.Embedding(USERS, 32)(user), layers.Embedding(MOVIES, 32)(movie)]
    score = layers.Flatten()(layers.Dot(axes=2)(vectors))
    return Model([user, movie], layers.Activation("sigmoid")(score))


def perceptron() -> Model:
    """Row b: Concatenate, Dense(64, relu), Dense(1, sigmoid)."""
    user, movie = _inputs()
    hidden = layers.Dense(64, activation="relu")(layers.Concatenate()(_rows(user, movie)))
    return Model([user, movie], layers.Dense(1, activation="sigmoid")(hidden))


def _genre_perceptron(*between: layers.Layer) -> Model:
    user, movie, genre = _inputs("genre")
    hidden = layers.Concatenate()([*_rows(user, movie), _row(genre, GENRES, 8, "genre_embedding")])
    for layer in (layers.Dense(64, activation="relu"), *between, layers.Dense(1, activation="sigmoid")):
        hidden = layer(hidden)
    return Model([user, movie, genre], hidden)


def genre() -> Model:
    """Row c: b with a genre's embedding as a third input."""
    return _genre_perceptron()


def marked_genres() -> Model:
    """Row c: the film's genres as a one for each, through a layer of their own."""
    user, movie = _inputs()
    genres = keras.Input((MARKS,), name="genres")
    joined = layers.Concatenate()([*_rows(user, movie), layers.Dense(8, activation="relu")(genres)])
    hidden = layers.Dense(64, activation="relu")(joined)
    return Model([user, movie, genres], layers.Dense(1, activation="sigmoid")(hidden))


def genre_batch_norm() -> Model:
    """Row c with BatchNormalization."""
    return _genre_perceptron(layers.BatchNormalization())


def genre_dropout() -> Model:
    """Row c with Dropout."""
    return _genre_perceptron(layers.Dropout(0.3))


def _books(user_width: int, movie_width: int, genre_width: int) -> Model:
    user, movie, genre = _inputs("genre")
    embeddings = [
        _row(user, USERS, user_width, "user_embedding"),
        _row(movie, MOVIES, movie_width, "movie_embedding"),
        _row(genre, GENRES, genre_width, "genre_embedding"),
    ]
    hidden = layers.Dense(32, activation="relu")(layers.Concatenate()(embeddings))
    return Model([user, movie, genre], layers.Dense(1, activation="sigmoid")(hidden))


def books() -> Model:
    """Row d: widths of 3, 3 and 2."""
    return _books(3, 3, 2)


def wide_books() -> Model:
    """Row d: widths of 50, 50 and 20."""
    return _books(50, 50, 20)


def two_widths() -> Model:
    """Row f: embeddings of 64 and of 32, joined."""
    user, movie = _inputs()
    joined = layers.Concatenate()([_row(user, USERS, 64, "user_embedding"), _row(movie, MOVIES, 32, "movie_embedding")])
    hidden = layers.Dense(64, activation="relu")(joined)
    return Model([user, movie], layers.Dense(1, activation="sigmoid")(hidden))


def two_widths_dot() -> Model:
    """Row f: embeddings of 64 and of 32, and a dot product that can't be; raises ValueError."""
    user, movie = _inputs()
    score = layers.Dot(axes=1)([_row(user, USERS, 64, "user_embedding"), _row(movie, MOVIES, 32, "movie_embedding")])
    return Model([user, movie], score)


def _dense_tower(side: Tensor) -> Tensor:
    return layers.Dense(24)(layers.Dense(48, activation="relu")(side))


def _normalised_tower(side: Tensor) -> Tensor:
    hidden = layers.LayerNormalization()(layers.Dense(48, activation="gelu")(side))
    return layers.LayerNormalization()(layers.Dense(24)(hidden))


def _residual_tower(side: Tensor) -> Tensor:
    for _ in range(2):
        inner = layers.Dense(32)(layers.Dense(32, activation="silu")(side))
        side = layers.LayerNormalization()(layers.Add()([side, inner]))
    return layers.Dense(24)(side)


def two_towers() -> Model:
    """Row h: dense layers over each embedding, and a dot product of what comes out."""
    user, movie = _inputs()
    return Model([user, movie], layers.Dot(axes=1)([_dense_tower(side) for side in _rows(user, movie)]))


def cosine_towers() -> Model:
    """Row h: the cosine of two towers."""
    user, movie = _inputs()
    return Model([user, movie], layers.Dot(axes=1, normalize=True)([_dense_tower(side) for side in _rows(user, movie)]))


def normalised_towers() -> Model:
    """Row h: LayerNormalization in the towers."""
    user, movie = _inputs()
    return Model([user, movie], layers.Dot(axes=1)([_normalised_tower(side) for side in _rows(user, movie)]))


def residual_towers() -> Model:
    """Row h: residual layers in the towers."""
    user, movie = _inputs()
    return Model([user, movie], layers.Dot(axes=1)([_residual_tower(side) for side in _rows(user, movie)]))


def biased_dot() -> Model:
    """Row h: a dot product with a bias of the user and one of the film."""
    user, movie = _inputs()
    score = layers.Dot(axes=1)(_rows(user, movie))
    biases = [_row(user, USERS, 1, "user_bias"), _row(movie, MOVIES, 1, "movie_bias")]
    return Model([user, movie], layers.Activation("sigmoid")(layers.Add()([score, *biases])))


def weighted_dot() -> Model:
    """Row h, GMF: the product of both embeddings, weighted by a last layer."""
    user, movie = _inputs()
    product = layers.Multiply()(_rows(user, movie))
    return Model([user, movie], layers.Dense(1, activation="sigmoid")(product))


def neural_factors() -> Model:
    """Row h, NeuMF: GMF beside a perceptron over embeddings of its own, in one last layer."""
    user, movie = _inputs()
    product = layers.Multiply()(_rows(user, movie))
    deep = layers.Concatenate()([_row(user, USERS, 16, "user_mlp"), _row(movie, MOVIES, 16, "movie_mlp")])
    for width in (32, 16):
        deep = layers.Dense(width, activation="relu")(deep)
    return Model([user, movie], layers.Dense(1, activation="sigmoid")(layers.Concatenate()([product, deep])))


def normalised_perceptron() -> Model:
    """Row h: LayerNormalization after the join, and a residual layer."""
    user, movie = _inputs()
    hidden = layers.LayerNormalization()(layers.Dense(64, activation="gelu")(layers.Concatenate()(_rows(user, movie))))
    hidden = layers.Add()([hidden, layers.Dense(64, activation="tanh")(hidden)])
    return Model([user, movie], layers.Dense(1, activation="sigmoid")(hidden))
