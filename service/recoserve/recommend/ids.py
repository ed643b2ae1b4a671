"""External ids of a request to rows, and the errors for ids that have none."""

from collections.abc import Sequence

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import FieldError, IdOutOfRange, InvalidRequest, RequestError, UnknownId
from recoserve.search.query import NO_ROWS


def row_of(vocabulary: Vocabulary, external_id: ExternalId, field: str) -> int:
    """The row of an id; raises InvalidRequest, IdOutOfRange or UnknownId."""
    row = vocabulary.find(external_id)
    if row is None:
        raise id_error(vocabulary, [external_id], [0], field, in_list=False)
    return row


def rows_of(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> Rows:
    """The row of each id of a list, int64 [n], in their order; raises as `row_of`, naming the index of each id at fault."""
    if not ids:
        return NO_ROWS
    rows = [vocabulary.find(external_id) for external_id in ids]
    unknown = [index for index, row in enumerate(rows) if row is None]
    if unknown:
        raise id_error(vocabulary, ids, unknown, field)
    return np.array(rows, np.int64)


def known_rows(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> list[int | None]:
    """The row of each id of a list, None for an unknown one; raises InvalidRequest for ids that are not of the bundle's type."""
    mistyped = [index for index, external_id in enumerate(ids) if not isinstance(external_id, vocabulary.id_type)]
    if mistyped:
        raise id_error(vocabulary, ids, mistyped, field)
    return [vocabulary.find(external_id) for external_id in ids]


def id_error(
    vocabulary: Vocabulary, ids: Sequence[ExternalId], faulty: Sequence[int], field: str, in_list: bool = True
) -> RequestError:
    """The error for the ids at the indexes `faulty`: it points at the field, or at the indexes of the field's list.

    Ids of the wrong type come first: what else is wrong with a list can't be said before they are mended.
    """
    error_type: type[RequestError]
    mistyped = [index for index in faulty if not isinstance(ids[index], vocabulary.id_type)]
    bounds, noun = vocabulary.bounds(), "an integer" if vocabulary.id_type is int else "a string"
    if mistyped:
        error_type, rule, faulty = InvalidRequest, f"must be {noun}, as this model's ids are", mistyped
    elif vocabulary.kind == "row" and bounds:
        error_type, rule = IdOutOfRange, f"must be in [{bounds[0]}, {bounds[1]}]"
    else:
        id_range = f"; they run from {bounds[0]} to {bounds[1]}" if bounds else ""
        error_type, rule = UnknownId, f"is not an id that this model knows{id_range}"
    fields = (FieldError((field, index) if in_list else (field,), rule) for index in faulty)
    return error_type(f"{field}: {len(faulty)} of {len(ids)}: each {rule}" if in_list else f"{field} {rule}", fields)
