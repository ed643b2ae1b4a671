"""Models of KMR's layers that compare one user with a list of candidates: which two tables they compare."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import KerasModel, class_name

EMBEDDING = "CollaborativeUserItemEmbedding"
SIMILARITY = "NormalizedDotProductSimilarity"
EXPLAINER = "CosineSimilarityExplainer"
SELECTOR = "TopKRecommendationSelector"
PASSING = ("InputLayer", "Flatten", "Reshape", "Dropout", "ExpandDims", "Squeeze", "UnitNormalization")  # change no cosine
SERVED = "true cosine over the model's two embedding tables is served, over the whole catalogue"
NOTES = {
    SIMILARITY: (
        f"KMR's {SIMILARITY} computes sum(a*b)/sqrt(dim), which is no cosine, and over a user and a list of candidates it sums "
        f"over the candidates: {SERVED}"
    ),
    EXPLAINER: f"KMR's {EXPLAINER} compares a user with a list of candidates: {SERVED}",
    SELECTOR: f"KMR's {SELECTOR} answers with positions in the list of candidates; the bundle answers with item ids",
}


@dataclass(frozen=True)
class KmrTables:
    """The Embeddings of the users and of the items; `notes` are sentences for the report."""

    users: Any
    items: Any
    notes: tuple[str, ...]


def read(model: KerasModel) -> KmrTables | None:
    """The two Embeddings of a model that is one lookup and one of KMR's similarities; None for every other model."""
    # Only these are read, and not their formula: over a list of candidates, KMR's similarity sums over the candidates and its
    # selector then ranks dimensions. Towers of KMR's layers that score pairs are ordinary scorers, with KMR's formula.
    operations = list(model.operations)
    classes = [class_name(operation) for operation in operations]
    if classes.count(EMBEDDING) != 1 or not {SIMILARITY, EXPLAINER} & set(classes):
        return None
    if set(classes) - {EMBEDDING, SIMILARITY, EXPLAINER, SELECTOR, *PASSING}:
        return None
    lookup = operations[classes.index(EMBEDDING)]
    notes = tuple(note for layer, note in NOTES.items() if layer in classes)
    return KmrTables(lookup.user_embedding, lookup.item_embedding, notes)
