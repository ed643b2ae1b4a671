"""Models of KMR's layers that compare one user with a list of candidates: which two tables they compare."""

from dataclasses import dataclass
from typing import Any

from recoserve_export.sources.keras_scorer import Model, kind

EMBEDDING, SIMILARITY, EXPLAINER, SELECTOR = (
    "CollaborativeUserItemEmbedding",
    "NormalizedDotProductSimilarity",
    "CosineSimilarityExplainer",
    "TopKRecommendationSelector",
)
BETWEEN = ("InputLayer", "Flatten", "Reshape", "Dropout", "ExpandDims", "Squeeze", "UnitNormalization")
SERVED = "true cosine over the model's two embedding tables is served, over the whole catalogue"
OF_SIMILARITY = (
    f"KMR's {SIMILARITY} computes sum(a*b)/sqrt(dim), which is no cosine, and over a user and a list of candidates it sums over "
    f"the candidates: {SERVED}"
)
OF_EXPLAINER = f"KMR's {EXPLAINER} compares a user with a list of candidates: {SERVED}"
OF_SELECTOR = f"KMR's {SELECTOR} answers with positions in the list of candidates; the bundle answers with item ids"


@dataclass(frozen=True)
class KmrPair:
    """The Embeddings of users and items, and what the report has to tell."""

    embeddings: tuple[Any, Any]
    notes: tuple[str, ...]


def read(model: Model) -> KmrPair | None:
    """The two Embeddings of a model that is one lookup and one of KMR's similarities; None for every other model."""
    operations = list(model.operations)
    kinds = [kind(each) for each in operations]
    if kinds.count(EMBEDDING) != 1 or not {SIMILARITY, EXPLAINER} & set(kinds):
        return None
    if set(kinds) - {EMBEDDING, SIMILARITY, EXPLAINER, SELECTOR, *BETWEEN}:
        return None
    lookup = operations[kinds.index(EMBEDDING)]
    notes = [
        note for layer, note in ((SIMILARITY, OF_SIMILARITY), (EXPLAINER, OF_EXPLAINER), (SELECTOR, OF_SELECTOR)) if layer in kinds
    ]
    return KmrPair((lookup.user_embedding, lookup.item_embedding), tuple(notes))
