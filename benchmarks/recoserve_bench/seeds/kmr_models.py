"""The seeds of row e: models of KMR's layers, by the stand-ins that the exporter has for them."""

import keras
from keras import Model, layers

from recoserve_bench.seeds.data import MOVIES, USERS
from recoserve_export.sources import kmr

CANDIDATES = 100


def _embedded(movies: int) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    """The inputs of one user and `movies` films, and their embeddings."""
    inputs = [keras.Input(shape, name=name, dtype="int64") for name, shape in (("user_id", (1,)), ("item_id", (movies,)))]
    return inputs, kmr.CollaborativeUserItemEmbedding(num_users=USERS, num_items=MOVIES, embedding_dim=32)(inputs)


def similarity() -> Model:
    """One user, 100 candidates, NormalizedDotProductSimilarity, TopKRecommendationSelector, as on KMR's own page."""
    inputs, embeddings = _embedded(CANDIDATES)
    scores = kmr.NormalizedDotProductSimilarity()(embeddings)
    return Model(inputs, kmr.TopKRecommendationSelector(k=10)(scores))


def similarity_of_pairs() -> Model:
    """One user, one film, NormalizedDotProductSimilarity."""
    inputs, embeddings = _embedded(1)
    return Model(inputs, kmr.NormalizedDotProductSimilarity()([layers.Flatten()(side) for side in embeddings]))


def explainer() -> Model:
    """One user, 100 candidates, CosineSimilarityExplainer, TopKRecommendationSelector."""
    inputs, embeddings = _embedded(CANDIDATES)
    return Model(inputs, kmr.TopKRecommendationSelector(k=10)(kmr.CosineSimilarityExplainer()(embeddings)))


def deep_towers() -> Model:
    """A DeepFeatureTower over each side of the lookup, and a dot product."""
    inputs, embeddings = _embedded(1)
    towers = [kmr.DeepFeatureTower(units=24, hidden_layers=2)(layers.Flatten()(side)) for side in embeddings]
    return Model(inputs, layers.Activation("sigmoid")(layers.Dot(axes=1)(towers)))
