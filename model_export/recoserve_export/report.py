"""The report that `export_model` returns and `recoserve export` prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoserve.bundle.manifest import Manifest


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how close the written graphs are to the model.

    `formula` is that of the model's own score, such as "sigmoid(dot)"; None for a ranker and for tables without a model. `dim` is
    the width of the vectors, None for a ranker; `operators_per_pair` is how many operators a ranker runs for every item, 0 for a
    dot model. `users` and `items` are their numbers; `ids` has, for "user" and "item", the kind of external ids; `parity` has the
    manifest's figures.
    """

    path: Path
    name: str
    version: str
    similarity: str
    formula: str | None
    users: int
    items: int
    dim: int | None
    ids: Mapping[str, str]
    parity: Mapping[str, Any]
    operators_per_pair: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        parity = self.parity
        lines = [
            f"{self.path}: {self.name} version {self.version}, {self.users} users x {self.items} items, {self._computation()}",
            f"similarity {self.similarity}; user ids: {self.ids['user']}, item ids: {self.ids['item']}",
            f"parity: {parity['pairs']} pairs compared, largest difference {parity['largest_difference']:.2g}, "
            f"the top {parity['k']} agree for {parity['top_k_agreement']:.0%} of {parity['users']} users",
        ]
        if parity["framework_pairs"]:
            difference = parity["framework_largest_difference"]
            lines.append(f"framework's own scores: {parity['framework_pairs']} pairs compared, largest difference {difference:.2g}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def _computation(self) -> str:
        """What a score is computed from, in words."""
        if not self.dim:
            return f"{self.operators_per_pair} operators run for each pair"
        return f"{self.dim} dimensions" + (f", its own score is {self.formula}" if self.formula else "")


def report_of(path: Path, manifest: Manifest, warnings: tuple[str, ...]) -> ExportReport:
    """The report of the bundle at `path`, from its manifest."""
    return ExportReport(
        path=path,
        name=manifest.name,
        version=manifest.version,
        similarity=manifest.similarity,
        formula=manifest.source["formula"],
        users=manifest.users,
        items=manifest.items,
        dim=manifest.dim,
        ids=manifest.ids,
        parity=manifest.parity,
        operators_per_pair=manifest.source.get("operators_per_pair", 0),
        warnings=warnings,
    )
