"""Ids of a request to rows, and what is wrong with those that are none."""

from collections.abc import Sequence

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import FieldError, IdOutOfRange, InvalidRequest, RequestError, UnknownId
from recoserve.search.query import NO_ROWS


def row_of(vocabulary: Vocabulary, external: ExternalId, field: str) -> int:
    """The row of an id; raises InvalidRequest, IdOutOfRange or UnknownId."""
    row = vocabulary.find(external)
    if row is None:
        raise fault(vocabulary, [external], [0], field, alone=True)
    return row


def rows_of(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> Rows:
    """The rows of a list of ids, one for each, in their order; raises with each id at fault told by its index."""
    if not ids:
        return NO_ROWS
    rows = [vocabulary.find(external) for external in ids]
    bad = [place for place, row in enumerate(rows) if row is None]
    if bad:
        raise fault(vocabulary, ids, bad, field)
    return np.array(rows, np.int64)


def known_rows(vocabulary: Vocabulary, ids: Sequence[ExternalId], field: str) -> list[int | None]:
    """The row of each id, None for an unknown one; raises InvalidRequest for ids of another type, each told by its index."""
    strangers = [place for place, external in enumerate(ids) if not isinstance(external, vocabulary.id_type)]
    if strangers:
        raise fault(vocabulary, ids, strangers, field)
    return [vocabulary.find(external) for external in ids]


def fault(vocabulary: Vocabulary, ids: Sequence[ExternalId], bad: Sequence[int], field: str, alone: bool = False) -> RequestError:
    """What to raise for the ids at the places `bad`: a lone id is told by its field, one of a list by field and index."""
    kind: type[RequestError]
    strangers = [place for place in bad if not isinstance(ids[place], vocabulary.id_type)]
    bounds, noun = vocabulary.bounds(), "an integer" if vocabulary.id_type is int else "a string"
    if strangers:
        kind, rule, bad = InvalidRequest, f"must be {noun}, as this model's ids are", strangers
    elif vocabulary.kind == "row" and bounds:
        kind, rule = IdOutOfRange, f"must be in [{bounds[0]}, {bounds[1]}]"
    else:
        known = f"; they run from {bounds[0]} to {bounds[1]}" if bounds else ""
        kind, rule = UnknownId, f"is not an id that this model knows{known}"
    fields = (FieldError((field,) if alone else (field, place), rule) for place in bad)
    return kind(f"{field} {rule}" if alone else f"{field}: {len(bad)} of {len(ids)}: each {rule}", fields)
