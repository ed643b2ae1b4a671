"""Translates between external ids and rows. No id goes beyond this translation: scheduling and search know rows only."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid

ExternalId = int | str


class Vocabulary(Protocol):
    """A bijection between the external ids of one side (users or items) and its rows 0 … len - 1."""

    kind: str  # one of contract.ID_KINDS
    id_type: type

    def __len__(self) -> int: ...

    def find(self, external_id: ExternalId) -> int | None:
        """The row of an id; None for one that the bundle doesn't hold, and for one that isn't of `id_type`."""

    def external(self, rows: Iterable[int]) -> list[ExternalId]:
        """The ids of rows, in their order; the rows must be in range."""

    def bounds(self) -> tuple[int, int] | None:
        """The smallest and the largest id where they are integers without a gap; otherwise None."""


class RowNumbers:
    """Ids that are the row numbers themselves."""

    kind = "row"
    id_type: type = int

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def find(self, external_id: ExternalId) -> int | None:
        return external_id if isinstance(external_id, int) and 0 <= external_id < self._count else None

    def external(self, rows: Iterable[int]) -> list[ExternalId]:
        return list(rows)

    def bounds(self) -> tuple[int, int] | None:
        return 0, self._count - 1


class IntegerIds:
    """Ids that are distinct integers, int64 [rows], in any order; raises BundleInvalid for any other array."""

    kind = "integer"
    id_type: type = int

    def __init__(self, ids: NDArray[np.int64]) -> None:
        if ids.ndim != 1 or ids.dtype != np.int64 or not len(ids):
            raise BundleInvalid(["integer ids must be a non-empty int64 array of one dimension"])
        self._ids = ids
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]
        duplicates = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if len(duplicates):
            raise BundleInvalid([f"id {self._sorted[duplicates[0]]} occurs twice; every row needs an id of its own"])

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, external_id: ExternalId) -> int | None:
        if not isinstance(external_id, int) or not self._sorted[0] <= external_id <= self._sorted[-1]:
            return None
        position = int(np.searchsorted(self._sorted, external_id))
        return int(self._order[position]) if self._sorted[position] == external_id else None

    def external(self, rows: Iterable[int]) -> list[ExternalId]:
        return [int(self._ids[row]) for row in rows]

    def bounds(self) -> tuple[int, int] | None:
        low, high = int(self._sorted[0]), int(self._sorted[-1])
        return (low, high) if high - low == len(self) - 1 else None


class StringIds:
    """Ids that are distinct strings, one for each row; raises BundleInvalid for an id that occurs twice."""

    kind = "string"
    id_type: type = str

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = list(ids)
        self._rows = {external_id: row for row, external_id in enumerate(self._ids)}
        if len(self._rows) != len(self._ids):
            duplicate = next(external_id for row, external_id in enumerate(self._ids) if self._rows[external_id] != row)
            raise BundleInvalid([f"id {duplicate!r} occurs twice; every row needs an id of its own"])

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, external_id: ExternalId) -> int | None:
        return self._rows.get(external_id) if isinstance(external_id, str) else None

    def external(self, rows: Iterable[int]) -> list[ExternalId]:
        return [self._ids[row] for row in rows]

    def bounds(self) -> tuple[int, int] | None:
        return None
