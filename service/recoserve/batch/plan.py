"""What a batch is to write: of which bundle, under which options. Two runs of one plan write the same file."""

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

Clauses = Mapping[str, Mapping[str, Any]]  # column -> operator -> value or list
SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Plan:
    """Everything that an answer depends on, and nothing that changes only its speed.

    `bundle_digest` is the `digest` of the bundle's manifest, which vouches for every file of it; `k` is at most the number of
    items.
    """

    model: str
    version: str
    bundle_digest: str
    users: int
    k: int
    exclude_seen: bool
    exclude_item_ids: tuple[ExternalId, ...]
    filter: Clauses

    def document(self) -> dict[str, Any]:
        """The plan as a JSON object, as it stands in `plan.json` and in the metadata of the Parquet file."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found


def make_plan(
    bundle: Bundle,
    k: int,
    exclude_seen: bool = False,
    exclude_item_ids: Sequence[ExternalId] = (),
    filter: Clauses = MappingProxyType({}),
) -> Plan:
    """The plan of a bundle; the same for the same options in another order.

    Raises OperatorError for an item that the bundle doesn't know, InvalidRequest for a filter that doesn't fit its columns.
    """
    found = bundle.manifest
    filter_conditions(bundle.columns, filter)
    for external in exclude_item_ids:
        if bundle.items.find(external) is None:
            raise OperatorError(f"--exclude-item {external}: the bundle has no such item")
    excluded = sorted(set(exclude_item_ids), key=lambda external: bundle.items.find(external) or 0)
    digest = json.loads(found.dump())["digest"]
    return Plan(found.name, found.version, digest, found.users, min(k, found.items), exclude_seen, tuple(excluded), dict(filter))


def differences(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What of two plans' documents isn't the same, a phrase for each member."""
    names = dict.fromkeys((*wanted, *begun))
    return [
        f"{name} was {_shown(begun.get(name))} and is now {_shown(wanted.get(name))}"
        for name in names
        if begun.get(name) != wanted.get(name)
    ]


class Questions:
    """What the plan asks of each user, in rows."""

    def __init__(self, bundle: Bundle, plan: Plan) -> None:
        self._k = plan.k
        rows = [bundle.items.find(external) for external in plan.exclude_item_ids]
        self._excluded = np.array(rows, np.int64)
        self._seen = bundle.interactions if plan.exclude_seen else None
        self._conditions = filter_conditions(bundle.columns, plan.filter)

    def of(self, user_row: int) -> Query:
        """The query of one user."""
        excluded = np.union1d(self._excluded, self._seen.of(user_row)) if self._seen else self._excluded
        return Query(user_row, self._k, excluded, conditions=self._conditions)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
