"""A ratings file and an items file, as rows: who touched what, in which order, and what is held out."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from recoserve.bundle.arrays import Rows
from recoserve.errors import FileInvalid
from recoserve_export.inputs.csv_file import (
    ITEM_KEY_COLUMNS,
    Line,
    RatingsColumns,
    check_line_widths,
    find_column,
    has_header,
    is_integer,
    is_number,
    ratings_columns,
    read_lines,
)

ExternalIds = list[int] | list[str]

INT64 = np.iinfo(np.int64)


@dataclass(frozen=True)
class Pairs:
    """Interactions as two int64 arrays of one length: `user[i]` touched `item[i]`, both row numbers."""

    user: Rows
    item: Rows

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Split:
    """The interactions that are learned from, and those that the model is asked to foresee."""

    train: Pairs
    held_out: Pairs


@dataclass(frozen=True)
class Dataset:
    """Distinct (user, item) pairs in file order, over two vocabularies.

    `user_ids` and `item_ids` are external ids in row order, ascending: integers where every one of that side is, else strings.
    `user_row`, `item_row` and `timestamp` are int64 of one length; without a time column a timestamp is the row's place in
    the file, and `timed` is False.
    """

    user_ids: ExternalIds
    item_ids: ExternalIds
    user_row: Rows
    item_row: Rows
    timestamp: Rows
    timed: bool

    @property
    def pairs(self) -> Pairs:
        """Every interaction, to learn from and to leave out of answers."""
        return Pairs(self.user_row, self.item_row)

    def split(self, share: float) -> Split:
        """Hold out each user's last `share` of interactions by time; ties keep the file's order.

        Of a user with n ≥ 2 interactions, max(1, floor(share · n)) are held out and at least one is left to learn from;
        of a user with one, none. `share` lies between 0 and 1, neither included.
        """
        order = np.lexsort((self.timestamp, self.user_row))
        user, item = self.user_row[order], self.item_row[order]
        count = np.bincount(user, minlength=len(self.user_ids))
        place = np.arange(len(user)) - (np.cumsum(count) - count)[user]
        late = place >= (count - held_out_counts(count, share))[user]
        return Split(Pairs(user[~late], item[~late]), Pairs(user[late], item[late]))


def held_out_counts(count: Rows, share: float) -> Rows:
    """How many of each user's `count` interactions are held out; see `Dataset.split`."""
    wished = np.floor(np.round(count * share, 9)).astype(np.int64)
    return np.clip(wished, np.minimum(1, count - 1), count - 1)


def read_dataset(ratings: Path, items: Path) -> Dataset:
    """Read both files; every rating counts as an interaction, whatever its value.

    Users are those of the ratings file; items are those of the items file and any others that were rated. Of a pair that
    stands twice the later one stays. Raises FileInvalid, which names the file, the line and the way to mend it.
    """
    catalogue = _Ids(_item_ids(items))
    listed = len(catalogue)
    users, rated, times, timed = _read_ratings(ratings, catalogue)
    if rated.min() >= listed:
        raise FileInvalid(
            f"no item of {ratings} stands in {items}; use the same ids in both, in a comma-separated column item_id of the latter"
        )
    user_ids, item_ids = users[0].ranked(), catalogue.ranked()
    kept = _last_of_each(users[1], rated, times)
    return Dataset(user_ids.ids, item_ids.ids, user_ids.rank[users[1][kept]], item_ids.rank[rated[kept]], times[kept], timed)


@dataclass(frozen=True)
class _Ranked:
    ids: ExternalIds
    rank: Rows


class _Ids:
    """Distinct id texts, numbered in order of appearance until `ranked` puts them in their own order."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._places: dict[str, int] = {}
        for text in texts:
            self.place(text)

    def __len__(self) -> int:
        return len(self._places)

    def place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def ranked(self) -> _Ranked:
        texts = list(self._places)
        ids: ExternalIds = [int(text) for text in texts] if all(map(is_integer, texts)) else texts
        order = sorted(range(len(ids)), key=ids.__getitem__)
        rank = np.empty(len(ids), np.int64)
        rank[order] = np.arange(len(ids))
        return _Ranked([ids[place] for place in order], rank)  # type: ignore[arg-type]  # one kind throughout


def _item_ids(path: Path) -> list[str]:
    lines = read_lines(path, delimiters=",")
    header = next(lines, None)
    if header is None:
        raise FileInvalid(f"{path} is empty; the items file needs a header and one row per item")
    column = find_column(header.cells, ITEM_KEY_COLUMNS) or 0
    seen: dict[str, int] = {}
    for line in check_line_widths(path, lines, column + 1):
        text = _id(path, line, column, "item")
        if text in seen:
            raise FileInvalid(f"{path}, line {line.number}: item {text} stands in line {seen[text]} already; keep one of them")
        seen[text] = line.number
    if not seen:
        raise FileInvalid(f"{path} has a header and no rows; the items file needs one row per item")
    return list(seen)


def _read_ratings(path: Path, catalogue: _Ids) -> tuple[tuple[_Ids, Rows], Rows, Rows, bool]:
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty; a row is user,item and optionally rating,timestamp")
    columns = ratings_columns(path, first)
    body = lines if has_header(first) else chain([first], lines)
    known, user, item, time = _Ids(), array("q"), array("q"), array("q")
    for place, line in enumerate(check_line_widths(path, body, columns.last + 1)):
        user.append(known.place(_id(path, line, columns.user, "user")))
        item.append(catalogue.place(_id(path, line, columns.item, "item")))
        time.append(_when(path, line, columns, place))
    if not user:
        raise FileInvalid(f"{path} has a header and no rows; a row is user,item and optionally rating,timestamp")
    users, rated, times = (np.frombuffer(values, np.int64) for values in (user, item, time))
    return (known, users), rated, times, columns.time is not None


def _id(path: Path, line: Line, column: int, side: str) -> str:
    text = line.cells[column]
    if not text:
        raise FileInvalid(f"{path}, line {line.number}: the {side} id is empty; fill it in or remove the row")
    return text


def _when(path: Path, line: Line, columns: RatingsColumns, place: int) -> int:
    """The line's time, its rating checked on the way."""
    if columns.rating is not None:
        _number(path, line, columns.rating, "rating")
    if columns.time is None:
        return place
    time = _number(path, line, columns.time, "timestamp")
    if not INT64.min < time < INT64.max:
        raise FileInvalid(
            f"{path}, line {line.number}: timestamp {line.cells[columns.time]} is too large; use seconds or milliseconds"
        )
    return int(time)


def _number(path: Path, line: Line, column: int, name: str) -> float:
    text = line.cells[column]
    if not is_number(text):
        raise FileInvalid(f"{path}, line {line.number}: {name} {text!r} is not a number; mend or remove the row")
    return float(text)


def _last_of_each(user: Rows, item: Rows, time: Rows) -> Rows:
    """Places of the pairs to keep, ascending: of equal pairs the latest, and of equally late ones the last in the file."""
    order = np.lexsort((time, item, user))
    last = np.append((np.diff(user[order]) != 0) | (np.diff(item[order]) != 0), True)
    return np.sort(order[last])


def describe_split(share: float, timed: bool) -> str:
    """The split in words, for the manifest."""
    return f"each user's last {share:.0%} {'by time' if timed else 'in file order'} held out"
