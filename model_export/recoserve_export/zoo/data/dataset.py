"""Reads a ratings file and an items file as rows: who interacted with which items, in which order, and what is held out."""

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
    complete_lines,
    find_column,
    has_header,
    is_integer,
    is_number,
    ratings_columns,
    read_lines,
)

ExternalIds = list[int] | list[str]

INT64_LIMITS = np.iinfo(np.int64)


@dataclass(frozen=True)
class InteractionPairs:
    """Interactions as two int64 arrays of one length: the user in row `user[i]` interacted with the item in row `item[i]`."""

    user: Rows
    item: Rows

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Split:
    """The interactions that a model learns from, and those that it has to predict."""

    train: InteractionPairs
    held_out: InteractionPairs


@dataclass(frozen=True)
class Dataset:
    """Distinct (user, item) pairs in file order, and the ids of all users and items.

    `user_ids` and `item_ids` are external ids in row order, ascending: integers if every id of that side is one, else strings.
    `user_row`, `item_row` and `timestamp` are int64 of one length. `timed` is False if the file has no time column; a timestamp is
    then the position of the pair in the file.
    """

    user_ids: ExternalIds
    item_ids: ExternalIds
    user_row: Rows
    item_row: Rows
    timestamp: Rows
    timed: bool

    @property
    def pairs(self) -> InteractionPairs:
        """Every interaction, held out or not."""
        return InteractionPairs(self.user_row, self.item_row)

    def split(self, share: float) -> Split:
        """Hold out each user's last `share` of interactions by time; ties keep the file's order.

        Of a user with n ≥ 2 interactions, max(1, floor(share · n)) are held out, but never all; of a user with one, none.
        `share` lies between 0 and 1, neither included.
        """
        order = np.lexsort((self.timestamp, self.user_row))
        user, item = self.user_row[order], self.item_row[order]
        counts = np.bincount(user, minlength=len(self.user_ids))
        position = np.arange(len(user)) - (np.cumsum(counts) - counts)[user]  # among the user's own interactions, by time
        is_held_out = position >= (counts - held_out_counts(counts, share))[user]
        train, held_out = (InteractionPairs(user[mask], item[mask]) for mask in (~is_held_out, is_held_out))
        return Split(train, held_out)


def held_out_counts(counts: Rows, share: float) -> Rows:
    """How many of each user's interactions are held out, int64 [U], of `counts` [U]; `Dataset.split` has the rule."""
    # Rounded before the floor, because 0.29 * 100 is 28.999… in binary.
    rounded_down = np.floor(np.round(counts * share, 9)).astype(np.int64)
    return np.clip(rounded_down, np.minimum(1, counts - 1), counts - 1)


def read_dataset(ratings: Path, items: Path) -> Dataset:
    """Read both files; every rating counts as an interaction, whatever its value.

    Users are those of the ratings file; items are those of the items file and any others that were rated. Of several ratings of
    one item by one user the latest counts. Raises FileInvalid, which names the file, the line and how to mend it.
    """
    item_numbers = _IdNumbers(_item_ids(items))
    listed_count = len(item_numbers)
    pairs = _read_ratings(ratings, item_numbers)
    if pairs.items.min() >= listed_count:
        raise FileInvalid(
            f"no item of {ratings} is in {items}; use the same ids in both files, "
            "in the items file in a comma-separated column item_id"
        )
    latest = _latest_of_equal_pairs(pairs.users, pairs.items, pairs.times)
    user_ids, user_rows = pairs.user_numbers.in_order()
    item_ids, item_rows = item_numbers.in_order()
    return Dataset(
        user_ids, item_ids, user_rows[pairs.users[latest]], item_rows[pairs.items[latest]], pairs.times[latest], pairs.timed
    )


class _IdNumbers:
    """Distinct ids as texts, numbered in order of appearance."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for text in texts:
            self.number(text)

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, text: str) -> int:
        """The number of `text`; the next free one if the text is new."""
        return self._numbers.setdefault(text, len(self._numbers))

    def in_order(self) -> tuple[ExternalIds, Rows]:
        """The ids ascending, as integers where all of them are; and the row of each number in that order."""
        texts = list(self._numbers)
        ids: ExternalIds = [int(text) for text in texts] if all(map(is_integer, texts)) else texts
        order = sorted(range(len(ids)), key=ids.__getitem__)
        rows = np.empty(len(ids), np.int64)
        rows[order] = np.arange(len(ids))
        return [ids[number] for number in order], rows  # type: ignore[return-value]  # all integers or all texts


def _item_ids(path: Path) -> list[str]:
    """The ids of an items file as texts, in file order."""
    lines = read_lines(path, delimiters=",")
    header = next(lines, None)
    if header is None:
        raise FileInvalid(f"{path} is empty; the items file needs a header and one row per item")
    column = find_column(header.cells, ITEM_KEY_COLUMNS) or 0
    line_numbers: dict[str, int] = {}  # by id
    for line in complete_lines(path, lines, column + 1):
        text = _id(path, line, column, "item")
        if text in line_numbers:
            raise FileInvalid(
                f"{path}, line {line.number}: item {text} stands in line {line_numbers[text]} already; keep one of them"
            )
        line_numbers[text] = line.number
    if not line_numbers:
        raise FileInvalid(f"{path} has a header and no rows; the items file needs one row per item")
    return list(line_numbers)


@dataclass(frozen=True)
class _Ratings:
    """For each rating the numbers of its user and of its item, and its time, int64 of one length; `timed` as in Dataset."""

    user_numbers: _IdNumbers
    users: Rows
    items: Rows
    times: Rows
    timed: bool


def _read_ratings(path: Path, item_numbers: _IdNumbers) -> _Ratings:
    """The ratings of a file; ids of items that `item_numbers` lacks are added to it."""
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty; a row is user,item and optionally rating,timestamp")
    columns = ratings_columns(path, first)
    body = lines if has_header(first) else chain([first], lines)
    user_numbers, user, item, time = _IdNumbers(), array("q"), array("q"), array("q")
    for position, line in enumerate(complete_lines(path, body, columns.last + 1)):
        user.append(user_numbers.number(_id(path, line, columns.user, "user")))
        item.append(item_numbers.number(_id(path, line, columns.item, "item")))
        time.append(_time(path, line, columns, position))
    if not user:
        raise FileInvalid(f"{path} has a header and no rows; a row is user,item and optionally rating,timestamp")
    users, items, times = (np.frombuffer(values, np.int64) for values in (user, item, time))
    return _Ratings(user_numbers, users, items, times, columns.time is not None)


def _id(path: Path, line: Line, column: int, side: str) -> str:
    text = line.cells[column]
    if not text:
        raise FileInvalid(f"{path}, line {line.number}: the {side} id is empty; fill it in or remove the row")
    return text


def _time(path: Path, line: Line, columns: RatingsColumns, position: int) -> int:
    """The line's timestamp, or `position` if the file has none; raises FileInvalid for a bad timestamp or rating."""
    if columns.rating is not None:
        _number(path, line, columns.rating, "rating")
    if columns.time is None:
        return position
    time = _number(path, line, columns.time, "timestamp")
    if not INT64_LIMITS.min < time < INT64_LIMITS.max:
        raise FileInvalid(
            f"{path}, line {line.number}: timestamp {line.cells[columns.time]} is too large; use seconds or milliseconds"
        )
    return int(time)


def _number(path: Path, line: Line, column: int, name: str) -> float:
    text = line.cells[column]
    if not is_number(text):
        raise FileInvalid(f"{path}, line {line.number}: {name} {text!r} is not a number; mend or remove the row")
    return float(text)


def _latest_of_equal_pairs(user: Rows, item: Rows, time: Rows) -> Rows:
    """The position of each distinct pair, ascending: where its time is the latest, and of equal times the last in the file."""
    order = np.lexsort((time, item, user))
    is_last = np.append((np.diff(user[order]) != 0) | (np.diff(item[order]) != 0), True)  # of its pair, in this order
    return np.sort(order[is_last])


def describe_split(share: float, timed: bool) -> str:
    """The split in words, for the manifest; `share` of each user's interactions is held out."""
    return f"each user's last {share:.0%} {'by time' if timed else 'in file order'} held out"
