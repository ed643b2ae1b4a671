"""Shows items to people by title and group (such as genre), and finds an item by its title."""

from collections.abc import Iterable
from typing import Any

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import BundleInvalid, OperatorError

MAX_TEXT_CHARACTERS = 160
MAX_LISTED_MATCHES = 20


class ItemTitles:
    """The titles of a bundle's items, and the search for an item by title."""

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
        """The item's `title` in its metadata, or "item" and the id where it has none; made `readable`."""
        title = self.metadata(row).get("title")
        return readable(str(title if title not in (None, "") else f"item {self.id_of(row)}"))

    def find(self, text: str, external_id: ExternalId) -> int:
        """The row of the item that has the id `external_id`; else the title `text`; else a title that contains `text`.

        Case doesn't count in titles. Raises OperatorError if no item matches, and if several do, which the message lists.
        """
        row = self._ids.find(external_id)
        if row is not None:
            return row
        titles = {row: self.title(row).casefold() for row in range(len(self._ids))} if self._metadata else {}
        folded = text.casefold()
        exact_matches = [row for row, title in titles.items() if title == folded]
        matches = exact_matches or [row for row, title in titles.items() if folded in title]
        if not matches:
            raise OperatorError(f"no item has the id {readable(text)!r}, and no title contains it")
        if len(matches) > 1:
            raise OperatorError(self._ambiguous(text, matches))
        return matches[0]

    def _ambiguous(self, text: str, rows: list[int]) -> str:
        heading = f"{len(rows)} titles match {readable(text)!r}; give the id of one of them, or more of its title:"
        lines = [f"  {readable(str(self.id_of(row)))}: {self.title(row)}" for row in rows[:MAX_LISTED_MATCHES]]
        more = [f"  … and {len(rows) - MAX_LISTED_MATCHES} more"] if len(rows) > MAX_LISTED_MATCHES else []
        return "\n".join([heading, *lines, *more])


def first_list_column(metadata: Iterable[dict[str, Any]]) -> tuple[str, list[str]] | None:
    """The name of the first column with lists of strings, and each item's first string in it, or ""; None without such a column."""
    items = list(metadata)
    names = (name for item in items for name, value in item.items() if _is_list_of_strings(value))
    column = next(names, None)
    if column is None:
        return None
    return column, [readable(item[column][0]) if _is_list_of_strings(item.get(column)) else "" for item in items]


def readable(text: str) -> str:
    """A text from a bundle as one line without control characters, of at most `MAX_TEXT_CHARACTERS`.

    Bundles may come from strangers: a title could hold escape sequences that a terminal obeys.
    """
    line = text[: MAX_TEXT_CHARACTERS + 1]  # one more than fits, so that the cut is noticed below
    if not line.isprintable():
        line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= MAX_TEXT_CHARACTERS else line[: MAX_TEXT_CHARACTERS - 1] + "…"


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)
