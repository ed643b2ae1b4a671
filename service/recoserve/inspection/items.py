"""Items for people to read: by title, and by group (such as genre)."""

from collections.abc import Iterable
from typing import Any

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import BundleInvalid, OperatorError

MAX_LETTERS = 160
MAX_MATCHES = 20


class ItemTitles:
    """The titles of a bundle's items, and the items by title."""

    def __init__(self, bundle: Bundle) -> None:
        self._ids, self._metadata = bundle.items, bundle.item_metadata

    def id_of(self, row: int) -> ExternalId:
        """The external id of a row."""
        return self._ids.external([row])[0]

    def metadata(self, row: int) -> dict[str, Any]:
        """One item's metadata, empty where the bundle has none; raises BundleInvalid where its line is no JSON object."""
        if self._metadata is None:
            return {}
        try:
            metadata: Any = self._metadata[row]
        except (ValueError, RecursionError):
            metadata = None
        if not isinstance(metadata, dict):
            raise BundleInvalid([f"{contract.ITEM_METADATA}: line {row + 1} is not a JSON object"])
        return metadata

    def title(self, row: int) -> str:
        """The item's `title` in its metadata, fit to print; without one, "item" and the id."""
        title = self.metadata(row).get("title")
        return readable(str(title if title not in (None, "") else f"item {self.id_of(row)}"))

    def find(self, text: str, external_id: ExternalId) -> int:
        """The row of an item: of the id `external_id`; or of the only title equal to `text`, or else that contains it, in any case.

        Raises OperatorError where no item matches, or more than one: the message lists them.
        """
        row = self._ids.find(external_id)
        if row is not None:
            return row
        titles = {row: self.title(row).casefold() for row in range(len(self._ids))} if self._metadata else {}
        folded = text.casefold()
        equal = [row for row, title in titles.items() if title == folded]
        matches = equal or [row for row, title in titles.items() if folded in title]
        if not matches:
            raise OperatorError(f"no item has the id {readable(text)!r}, and no title contains it")
        if len(matches) > 1:
            raise OperatorError(self._ambiguous(text, matches))
        return matches[0]

    def _ambiguous(self, text: str, rows: list[int]) -> str:
        heading = f"{len(rows)} titles match {readable(text)!r}; give the id of one of them, or more of its title:"
        lines = [f"  {readable(str(self.id_of(row)))}: {self.title(row)}" for row in rows[:MAX_MATCHES]]
        more = [f"  … and {len(rows) - MAX_MATCHES} more"] if len(rows) > MAX_MATCHES else []
        return "\n".join([heading, *lines, *more])


def first_list_column(metadata: Iterable[dict[str, Any]]) -> tuple[str, list[str]] | None:
    """The first column with lists of strings, and each item's first entry in it ("" for none); None without such a column."""
    rows = list(metadata)
    names = (name for row in rows for name, value in row.items() if _is_list_of_strings(value))
    column = next(names, None)
    if column is None:
        return None
    return column, [readable(row[column][0]) if _is_list_of_strings(row.get(column)) else "" for row in rows]


def readable(text: str) -> str:
    """A text from a bundle as one line without control characters, at most `MAX_LETTERS` long.

    Bundles come from others: a title could hold escape sequences that a terminal obeys.
    """
    line = text[: MAX_LETTERS + 1]
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else " " for letter in line)
    return line if len(line) <= MAX_LETTERS else line[: MAX_LETTERS - 1] + "…"


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)
