"""Refuses requests that need what the model lacks, with the field at fault."""

from recoserve.errors import FieldError, InvalidRequest
from recoserve.search.model import Model
from recoserve.search.vectors import VectorTables

NO_INTERACTIONS = "needs interactions, and this model's bundle has none; export it again with --interactions"


def refused(field: str, reason: str) -> InvalidRequest:
    """An error that says what is wrong with one field."""
    return InvalidRequest(f"{field}: {reason}", [FieldError((field,), reason)])


def required_vectors(model: Model, purpose: str, field: str | None = None) -> VectorTables:
    """The model's vectors; raises InvalidRequest, at `field` if there is one, where its score is no dot product of vectors."""
    if model.vectors is None:
        reason = f"{purpose} needs item vectors, and this model has none: its score is more than one dot product"
        raise refused(field, reason) if field else InvalidRequest(reason)
    return model.vectors
