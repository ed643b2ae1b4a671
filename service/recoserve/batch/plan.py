"""The plan of a batch run: its bundle, and the options that decide what it writes. Two runs of equal plans write the same file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from recoserve.bundle.archive import Bundle
from recoserve.bundle.vocabulary import ExternalId
from recoserve.errors import OperatorError
from recoserve.search.filters import filter_conditions
from recoserve.search.query import Query

ClausesByColumn = Mapping[str, Mapping[str, Any]]  # column -> operator -> value or list
MAX_SHOWN_CHARACTERS = 60  # of a value in a message


@dataclass(frozen=True)
class Plan:
    """Everything that the recommendations depend on, and nothing that changes only the speed.

    `bundle_digest` is the `digest` of the bundle's manifest, and so of every file in the bundle; `k` is at most the number of
    items.
    """

    model: str
    version: str
    bundle_digest: str
    users: int
    k: int
    exclude_seen: bool
    exclude_item_ids: tuple[ExternalId, ...]
    filter: ClausesByColumn

    def document(self) -> dict[str, Any]:
        """The plan as a JSON object, as `plan.json` and the metadata of the Parquet file hold it."""
        members: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return members


def make_plan(
    bundle: Bundle,
    k: int,
    exclude_seen: bool = False,
    exclude_item_ids: Sequence[ExternalId] = (),
    filter: ClausesByColumn = MappingProxyType({}),
) -> Plan:
    """The plan of a run. The order of `exclude_item_ids` makes no difference.

    Raises OperatorError for an item that the bundle doesn't hold, and InvalidRequest for a filter that doesn't fit its columns.
    """
    manifest = bundle.manifest
    filter_conditions(bundle.columns, filter)
    for external_id in exclude_item_ids:
        if bundle.items.find(external_id) is None:
            raise OperatorError(f"--exclude-item {external_id}: the bundle has no such item")
    excluded_ids = sorted(set(exclude_item_ids), key=lambda external_id: bundle.items.find(external_id) or 0)
    return Plan(
        model=manifest.name,
        version=manifest.version,
        bundle_digest=json.loads(manifest.dump())["digest"],
        users=manifest.users,
        k=min(k, manifest.items),
        exclude_seen=exclude_seen,
        exclude_item_ids=tuple(excluded_ids),
        filter=dict(filter),
    )


def differences(earlier: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """The differences between two plans as JSON objects, a phrase for each member that differs."""
    names = dict.fromkeys((*current, *earlier))
    return [
        f"{name} was {_shortened(earlier.get(name))} and is now {_shortened(current.get(name))}"
        for name in names
        if earlier.get(name) != current.get(name)
    ]


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + "…"


class UserQueries:
    """Makes the query of each user under a plan."""

    def __init__(self, bundle: Bundle, plan: Plan) -> None:
        self._k = plan.k
        rows = [bundle.items.find(external_id) for external_id in plan.exclude_item_ids]  # ascending, as queries need them
        self._excluded = np.array(rows, np.int64)
        self._interactions = bundle.interactions if plan.exclude_seen else None
        self._conditions = filter_conditions(bundle.columns, plan.filter)

    def query(self, user_row: int) -> Query:
        """The query of one user."""
        excluded = self._excluded
        if self._interactions:
            excluded = np.union1d(excluded, self._interactions.of(user_row))
        return Query(user_row, self._k, excluded, conditions=self._conditions)
