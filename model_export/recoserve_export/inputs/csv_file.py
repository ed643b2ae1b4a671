"""Reads CSV files as people have them: lines with their numbers, split into cells, and columns found by name."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from recoserve.errors import ExportRefused, FileInvalid

# Names of columns in lower case without punctuation, the likeliest first: if a header has several of them, the first in this order
# is used.
USER_COLUMNS = ("userid", "user", "uid", "readerid", "reader", "customerid", "customer", "visitorid")
ITEM_KEY_COLUMNS = ("itemid", "movieid", "bookid", "productid", "id")  # of an items file
ITEM_COLUMNS = (*ITEM_KEY_COLUMNS[:-1], "item", "movie", "book", "product", "articleid", "article", "isbn")  # of a ratings file
RATING_COLUMNS = ("rating", "score", "stars", "bookrating")
TIME_COLUMNS = ("timestamp", "time", "ts", "unixtime")

DELIMITERS = ",;\t"
NAME_SEPARATOR = "|"  # between several names in one cell
NO_GENRES = "(no genres listed)"  # what MovieLens writes in place of an empty list
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
INT64 = range(-(2**63), 2**63)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Line:
    """One row of a file: its cells, and for error messages the number of its line, counted from 1."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class RatingsColumns:
    """The positions of a ratings file's columns; None for a column that it lacks."""

    user: int
    item: int
    rating: int | None
    time: int | None

    @property
    def last(self) -> int:
        """The rightmost column in use."""
        return max(column for column in (self.user, self.item, self.rating, self.time) if column is not None)


def read_lines(path: Path, delimiters: str = DELIMITERS) -> Iterator[Line]:
    """The rows of a UTF-8 file without its empty lines, split at that one of `delimiters` which is most frequent in its first line.

    Raises FileInvalid for a file that is missing, unreadable, not UTF-8 or not CSV.
    """
    number = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark in front
            reader = csv.reader(file, delimiter=_delimiter(file, delimiters))
            for cells in reader:
                number = reader.line_num
                if any(cell.strip() for cell in cells):
                    yield Line(number, [cell.strip() for cell in cells])
    except OSError as error:
        raise FileInvalid(f"can't read {path}: {error.strerror}; give the path of a CSV file") from None
    except UnicodeDecodeError:
        raise FileInvalid(f"{path} is not UTF-8; save it as UTF-8 first") from None
    except csv.Error as error:
        raise FileInvalid(f"{path}, line {number + 1}: not CSV ({error}); is a quote never closed?") from None


def _delimiter(file: TextIO, delimiters: str) -> str:
    first = file.readline()
    file.seek(0)
    return max(delimiters, key=first.count)


def read_nonempty_file(path: Path, delimiters: str = ",") -> Iterator[Line]:
    """The rows of a file as `read_lines` gives them; raises FileInvalid for a file without any, before the first row is read."""
    lines = read_lines(path, delimiters)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty; it needs at least one row")
    return chain([first], lines)


def find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """The position of the column that is called by the earliest of `names` in the header; None where it has none of them.

    Case and punctuation don't count: `movie_id` and `movieId` are both `movieid`.
    """
    plain_names = [re.sub(r"[^a-z]", "", cell.lower()) for cell in header]
    return next((plain_names.index(name) for name in names if name in plain_names), None)


def is_integer(text: str) -> bool:
    """True for an int64 as a program would write it: for `7`, not for `007` or `+7`."""
    return INTEGER.fullmatch(text) is not None and int(text) in INT64


def is_number(text: str) -> bool:
    """Whether a cell is a finite decimal number."""
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def has_header(first: Line) -> bool:
    """True if a first line is taken for names of columns: if any of its cells is no number."""
    return not all(is_number(cell) for cell in first.cells)


def ratings_columns(path: Path, first: Line) -> RatingsColumns:
    """The columns that the first line names; if it names neither user nor item: user, item, rating, timestamp in this order.

    Raises FileInvalid where only one of the two is named, or the file has fewer than two columns.
    """
    user, item = find_column(first.cells, USER_COLUMNS), find_column(first.cells, ITEM_COLUMNS)
    width = len(first.cells)
    if width < 2 or (user is None) != (item is None):
        missing = " and ".join(side for side, column in (("user", user), ("item", item)) if column is None)
        raise FileInvalid(
            f"{path}, line {first.number}: no {missing} column among {', '.join(first.cells)}; "
            "name the columns user_id and item_id (then rating and timestamp, if there are any)"
        )
    if user is None or item is None:
        return RatingsColumns(0, 1, 2 if width > 2 else None, 3 if width > 3 else None)
    return RatingsColumns(user, item, find_column(first.cells, RATING_COLUMNS), find_column(first.cells, TIME_COLUMNS))


def complete_lines(path: Path, lines: Iterable[Line], width: int) -> Iterator[Line]:
    """Yields the lines; raises FileInvalid at the first with fewer than `width` cells."""
    for line in lines:
        if len(line.cells) < width:
            raise FileInvalid(f"{path}, line {line.number}: {len(line.cells)} columns where {width} are needed; complete the row")
        yield line


def ids_and_cells(path: Path, header: Sequence[str], id_column: int, lines: Iterable[Line]) -> Iterator[tuple[str, list[str]]]:
    """Yields for each line the id in its `id_column`, and its cells, one for each column of the header.

    Raises ExportRefused for two columns of one name, FileInvalid for a line of another length and for an id that two lines have.
    """
    repeated = next((name for position, name in enumerate(header) if name in header[:position]), None)
    if repeated is not None:
        raise ExportRefused(f"{path}: two columns of the header are called {repeated!r}; rename one")
    line_numbers: dict[str, int] = {}
    for line in lines:
        if len(line.cells) != len(header):
            raise FileInvalid(
                f"{path}, line {line.number}: {len(line.cells)} cells where the header has {len(header)}; "
                "quote cells that hold commas"
            )
        text = line.cells[id_column]
        if line_numbers.setdefault(text, line.number) != line.number:
            raise FileInvalid(f"{path}: id {text} stands twice, in lines {line_numbers[text]} and {line.number}; keep one of them")
        yield text, line.cells
