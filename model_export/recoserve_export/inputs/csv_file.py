"""CSV as people bring it: rows with their line numbers, and columns found by name."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from recoserve.errors import ExportRefused, FileInvalid

# Lower case, without punctuation.
USER_NAMES = ("userid", "user", "uid", "readerid", "reader", "customerid", "customer", "visitorid")
ITEM_KEYS = ("itemid", "movieid", "bookid", "productid", "id")  # of an items file
ITEM_NAMES = (*ITEM_KEYS[:-1], "item", "movie", "book", "product", "articleid", "article", "isbn")
RATING_NAMES = ("rating", "score", "stars", "bookrating")
TIME_NAMES = ("timestamp", "time", "ts", "unixtime")

DELIMITERS = ",;\t"
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
INT64 = range(-(2**63), 2**63)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Line:
    """One row of a file: its cells, and the line (from 1) that an error message names."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Columns:
    """Where a ratings file keeps what the trainer needs; None for a column that it lacks."""

    user: int
    item: int
    rating: int | None
    time: int | None

    @property
    def last(self) -> int:
        """The rightmost column in use."""
        return max(place for place in (self.user, self.item, self.rating, self.time) if place is not None)


def read_lines(path: Path, delimiters: str = DELIMITERS) -> Iterator[Line]:
    """The rows of a UTF-8 file, empty lines left out; of `delimiters`, the one that its first line has most of.

    Raises FileInvalid for a file that is missing, unreadable, not UTF-8 or not CSV.
    """
    number = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
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
        raise FileInvalid(f"{path}, line {number + 1}: not CSV ({error})") from None


def _delimiter(file: TextIO, delimiters: str) -> str:
    first = file.readline()
    file.seek(0)
    return max(delimiters, key=first.count)


def named(header: list[str], names: Sequence[str]) -> int | None:
    """The column that has the first of `names` that any has, in lower case and without punctuation; None where none has one."""
    plain = [re.sub(r"[^a-z]", "", cell.lower()) for cell in header]
    return next((plain.index(name) for name in names if name in plain), None)


def is_integer(text: str) -> bool:
    """Whether a text is an int64 as a program would write it: `7` is one, `007` and `+7` are not."""
    return INTEGER.fullmatch(text) is not None and int(text) in INT64


def is_number(text: str) -> bool:
    """Whether a cell is a finite decimal number."""
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def ratings_columns(path: Path, first: Line) -> Columns:
    """Columns by their names in the header; by position (user, item, rating, timestamp) where it names neither user nor item.

    Raises FileInvalid where only one of the two is found, or the file has fewer than two columns.
    """
    user, item = named(first.cells, USER_NAMES), named(first.cells, ITEM_NAMES)
    if len(first.cells) < 2 or (user is None) != (item is None):
        missing = "item" if item is None and user is not None else "user and item" if user is None and item is None else "user"
        raise FileInvalid(
            f"{path}, line {first.number}: no {missing} column among {', '.join(first.cells)}; "
            "name the columns user_id and item_id (then rating and timestamp, if there are any)"
        )
    if user is None or item is None:
        width = len(first.cells)
        return Columns(0, 1, 2 if width > 2 else None, 3 if width > 3 else None)
    return Columns(user, item, named(first.cells, RATING_NAMES), named(first.cells, TIME_NAMES))


def has_header(first: Line) -> bool:
    """A first line is a header unless every cell of it is a number."""
    return not all(is_number(cell) for cell in first.cells)


def cells_of(path: Path, lines: Iterable[Line], width: int) -> Iterator[Line]:
    """The lines, each checked to hold `width` cells at least."""
    for line in lines:
        if len(line.cells) < width:
            raise FileInvalid(f"{path}, line {line.number}: {len(line.cells)} columns where {width} are needed; complete the row")
        yield line


def filled_lines(path: Path, delimiters: str = ",") -> Iterator[Line]:
    """The rows of a CSV file that must hold one at least."""
    lines = read_lines(path, delimiters)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty")
    return chain([first], lines)


def keyed(path: Path, header: list[str], key: int, body: Iterator[Line]) -> Iterator[tuple[str, list[str]]]:
    """Each line with its id, told apart; raises ExportRefused for a line of another length and an id that stands twice."""
    if len(set(header)) != len(header):
        raise ExportRefused(f"{path}: a column name stands twice in the header")
    lines: dict[str, int] = {}
    for line in body:
        text, wide = line.cells[key] if key < len(line.cells) else "", len(line.cells)
        if wide != len(header):
            raise FileInvalid(f"{path}, line {line.number}: {wide} cells, the header {len(header)}; quote cells with commas")
        if lines.setdefault(text, line.number) != line.number:
            raise FileInvalid(f"{path}: id {text} stands twice, in lines {lines[text]} and {line.number}")
        yield text, line.cells
