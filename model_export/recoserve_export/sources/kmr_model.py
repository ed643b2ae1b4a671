"""Finds the two tables of models with KMR's layers that compare one user with a list of candidates."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import KerasModel, class_name

EMBEDDING = "CollaborativeUserItemEmbedding"
SIMILARITY = "NormalizedDotProductSimilarity"
EXPLAINER = "CosineSimilarityExplainer"
SELECTOR = "TopKRecommendationSelector"
# Layers that change no cosine.
COSINE_NEUTRAL = ("InputLayer", "Flatten", "Reshape", "Dropout", "ExpandDims", "Squeeze", "UnitNormalization")
SERVED = "true cosine over the model's two embedding tables is served, over the whole catalogue"
NOTES = {
    SIMILARITY: (
        f"KMR's {SIMILARITY} computes sum(a*b)/sqrt(dim), which is no cosine, and for a list of candidates it sums over the "
        f"candidates: {SERVED}"
    ),
    EXPLAINER: f"KMR's {EXPLAINER} compares a user with a list of candidates: {SERVED}",
    SELECTOR: f"KMR's {SELECTOR} returns positions in the list of candidates; the bundle returns item ids",
}


@dataclass(frozen=True)
class KmrTables:
    """The Embeddings of the users and of the items; `notes` are sentences for the report."""

    users: Any
    items: Any
    notes: tuple[str, ...]


def read(model: KerasModel) -> KmrTables | None:
    """The two Embeddings of a model that is KMR's lookup and one of KMR's similarities; None for every other model."""
    # The tables are read, and KMR's formula is not: for a list of candidates its similarity sums over the candidates, and its
    # selector then ranks dimensions. Other models with KMR's layers that score pairs are ordinary scorers, by KMR's formula.
    operations = list(model.operations)
    classes = [class_name(operation) for operation in operations]
    if classes.count(EMBEDDING) != 1 or not {SIMILARITY, EXPLAINER} & set(classes):
        return None
    if set(classes) - {EMBEDDING, SIMILARITY, EXPLAINER, SELECTOR, *COSINE_NEUTRAL}:
        return None
    lookup = operations[classes.index(EMBEDDING)]
    notes = tuple(note for layer, note in NOTES.items() if layer in classes)
    return KmrTables(lookup.user_embedding, lookup.item_embedding, notes)
