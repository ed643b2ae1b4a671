"""Bundles in which even users like even items: one for each kind of id, with interactions and metadata, and a bare one."""

from pathlib import Path

from tests.bundles import make_bundle

USERS, ITEMS = 6, 8
# Users 10 to 15, items item-0 to item-7; no graphs for vectors, and metadata without columns.
FORMAT_1 = Path(__file__).parents[1] / "data" / "format-1"
METADATA = [
    {
        "title": f"Item {row}",
        "genres": [["even", "odd"][row % 2], *["low"] * (row < 4)],
        "year": 1990 + row,
        "length": row + 0.5,
        "classic": row < 2,
        "mixed": row if row % 2 else str(row),
        **({"note": "rare"} if row == 5 else {}),
    }
    for row in range(ITEMS)
]
INTERACTIONS = ([0, 0, 2, 3, 3, 5], [0, 4, 6, 1, 4, 4])  # item 4 three times, items 0, 1 and 6 once; users 1 and 4 have none

# model -> the ids of its users and items, by row
IDS = {
    "rows": (list(range(USERS)), list(range(ITEMS))),
    "integers": ([11, 7, 13, 2**40, -3, 19], [101, 7, 55, 3, 2**62, -4, 90, 11]),
    "strings": ([f"u{row} é" for row in range(USERS)], [f"i/{row}~" for row in range(ITEMS)]),
}
# model -> ids of the right type that neither a user nor an item has
UNKNOWN_IDS = {
    "rows": (ITEMS, -1, 2**31, 2**63, 2**64, 10**400),
    "integers": (12, 0, 2**63, -(2**64), 10**400),
    "strings": ("nobody", "U0 é", "é" * 512),
}
UNKNOWN_ID_PROBLEM = {"rows": "id-out-of-range", "integers": "unknown-id", "strings": "unknown-id"}
NOT_IDS = [True, 1.0, 1e2, None, [1], {}, "", "x" * 513]  # no id of any model


def make_bundles(folder):
    """The folders of a bundle for each kind of id, `rows`, the default, first, and of `bare`, which has vectors alone."""
    bundles = []
    for name, (user_ids, item_ids) in IDS.items():
        ids = {} if name == "rows" else {"user_ids": user_ids, "item_ids": item_ids}
        bundles.append(make_bundle(folder / name, name=name, items=METADATA, interactions=INTERACTIONS, **ids))
    return [*bundles, make_bundle(folder / "bare", name="bare", items=None, interactions=None)]


def bodies(model="rows"):
    """For every endpoint a valid request that has every id field."""
    users, items = IDS[model]
    options = {"exclude_item_ids": [items[7]], "candidate_item_ids": items, "model": model}
    return {
        "/recommend": {"user_id": users[0], **options},
        "/recommend/batch": {"user_ids": [users[0], users[1]], **options},
        "/recommend/history": {"item_ids": [items[0], items[2]], "negative_item_ids": [items[1]], **options},
        "/similar/items": {"item_id": items[0], **options},
        "/similar/users": {"user_id": users[0], "model": model},
        "/score": {"user_id": users[0], "item_ids": [items[0], items[1]], "model": model},
        "/explain": {"user_id": users[0], "item_id": items[2], "model": model},
    }


ID_FIELDS = [(endpoint, field) for endpoint, body in bodies().items() for field in body if field.endswith(("_id", "_ids"))]
LIST_FIELDS = [(endpoint, field) for endpoint, field in ID_FIELDS if field.endswith("_ids")]
# Unknown ids in these are listed in the answer, not refused.
UNKNOWN_IDS_ALLOWED = [("/recommend/batch", "user_ids"), ("/score", "item_ids")]
