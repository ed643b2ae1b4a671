"""Items as people know them: by title, and by the group that they belong to."""

from collections.abc import Iterable
from typing import Any

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import BundleInvalid, OperatorError

MOST_LETTERS = 160
MOST_MATCHES = 20


class Items:
    """The items of one bundle, for people to read."""

    def __init__(self, bundle: Bundle) -> None:
        self._ids, self._catalogue = bundle.items, bundle.item_metadata

    def id_of(self, row: int) -> ExternalId:
        """The external id of a row."""
        return self._ids.external([row])[0]

    def metadata(self, row: int) -> dict[str, Any]:
        """One item's columns, none where the bundle has no metadata; raises BundleInvalid where its line is no JSON object."""
        if self._catalogue is None:
            return {}
        try:
            found: Any = self._catalogue[row]
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise BundleInvalid([f"{contract.ITEM_METADATA}: line {row + 1} is not a JSON object"])
        return found

    def title(self, row: int) -> str:
        """The column `title`, made fit to print; where there is none, "item" and the id."""
        found = self.metadata(row).get("title")
        return readable(str(found if found not in (None, "") else f"item {self.id_of(row)}"))

    def find(self, text: str, external: ExternalId) -> int:
        """The row of an id; of the one title that is `text` or, failing that, contains it, in capitals or not.

        Raises OperatorError where there is none, or more than one: the message lists them.
        """
        row = self._ids.find(external)
        if row is not None:
            return row
        titles = {row: self.title(row).casefold() for row in range(len(self._ids))} if self._catalogue else {}
        wanted = text.casefold()
        same = [row for row, title in titles.items() if title == wanted]
        found = same or [row for row, title in titles.items() if wanted in title]
        if not found:
            raise OperatorError(f"no item has the id {readable(text)!r}, and no title contains it")
        if len(found) > 1:
            raise OperatorError(self._ambiguous(text, found))
        return found[0]

    def _ambiguous(self, text: str, rows: list[int]) -> str:
        lines = [f"  {readable(str(self.id_of(row)))}: {self.title(row)}" for row in rows[:MOST_MATCHES]]
        more = [f"  … and {len(rows) - MOST_MATCHES} more"] if len(rows) > MOST_MATCHES else []
        head = f"{len(rows)} titles match {readable(text)!r}; give the id of one of them, or more of its title:"
        return "\n".join([head, *lines, *more])


def groups(metadata: Iterable[dict[str, Any]]) -> tuple[str, list[str]] | None:
    """The first column that holds lists of strings, and each item's first entry in it ("" for none); None where none does."""
    rows = list(metadata)
    lists = (name for row in rows for name, value in row.items() if _words(value))
    column = next(lists, None)
    if column is None:
        return None
    return column, [readable(row[column][0]) if _words(row.get(column)) else "" for row in rows]


def readable(text: str) -> str:
    """A text from somebody else's bundle as one line without control characters, at most `MOST_LETTERS` long."""
    line = text[: MOST_LETTERS + 1]
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else " " for letter in line)
    return line if len(line) <= MOST_LETTERS else line[: MOST_LETTERS - 1] + "…"


def _words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)
