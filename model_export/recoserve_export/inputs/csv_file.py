"""CSV files as people have them: rows with their line numbers, and columns found by name."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from recoserve.errors import ExportRefused, FileInvalid

# Names of columns in lower case without punctuation, the likeliest first: of several that a header has, the first one here counts.
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
    """One row of a file: its cells, and the number (from 1) of its line for error messages."""

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
    """The rows of a UTF-8 file without its empty lines, split at the one of `delimiters` that its first line has most of.

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
    """The rows of a file as `read_lines` gives them; raises FileInvalid, at once, for a file without any."""
    lines = read_lines(path, delimiters)
    first = next(lines, None)
    if first is None:
        raise FileInvalid(f"{path} is empty; it needs one row at least")
    return chain([first], lines)


def find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """The position of the column with the first of `names` that the header has; None where it has none of them.

    Case and punctuation don't count: `movie_id` and `movieId` are both `movieid`.
    """
    plain = [re.sub(r"[^a-z]", "", cell.lower()) for cell in header]
    return next((plain.index(name) for name in names if name in plain), None)


def is_integer(text: str) -> bool:
    """Whether a text is an int64 as a program would write it: `7` is one, `007` and `+7` are not."""
    return INTEGER.fullmatch(text) is not None and int(text) in INT64


def is_number(text: str) -> bool:
    """Whether a cell is a finite decimal number."""
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def has_header(first: Line) -> bool:
    """Whether a first line names columns: it does unless each of its cells is a number."""
    return not all(is_number(cell) for cell in first.cells)


def ratings_columns(path: Path, first: Line) -> RatingsColumns:
    """Columns by their names in the header; by position (user, item, rating, timestamp) where it names neither user nor item.

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


def check_line_widths(path: Path, lines: Iterable[Line], width: int) -> Iterator[Line]:
    """The lines, one by one; raises FileInvalid at the first with fewer than `width` cells."""
    for line in lines:
        if len(line.cells) < width:
            raise FileInvalid(f"{path}, line {line.number}: {len(line.cells)} columns where {width} are needed; complete the row")
        yield line


def rows_by_id(path: Path, header: Sequence[str], key: int, lines: Iterable[Line]) -> Iterator[tuple[str, list[str]]]:
    """The id in column `key` of each line, and the line's cells, one for each column of the header.

    Raises ExportRefused for two columns of one name, FileInvalid for a line of another length and for an id of two lines.
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
        text = line.cells[key]
        if line_numbers.setdefault(text, line.number) != line.number:
            raise FileInvalid(f"{path}: id {text} stands twice, in lines {line_numbers[text]} and {line.number}; keep one of them")
        yield text, line.cells
