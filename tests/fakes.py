"""Stand-ins behind our own interfaces: a session in NumPy, and a bundle that never touched a disk."""

import threading
import time
from pathlib import Path

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle
from recoserve.bundle.golden import Golden
from recoserve.bundle.interactions import Interactions
from recoserve.bundle.json_lines import JsonLines, encode_lines
from recoserve.bundle.manifest import Manifest
from recoserve.bundle.vocabulary import RowNumbers
from recoserve.search.model import Model
from recoserve.search.query import Ranking


class FakeSession:
    """An `OnnxSession` in NumPy over two tables, float32 [U, d] and [N, d].

    `seconds` makes every run slow, a cleared `gate` holds it back; `user_rows` are those of all runs.
    """

    provider = "cpu"

    def __init__(self, role, users, items, seconds=0.0):
        self.inputs = frozenset(contract.GRAPH_INPUTS[role])
        self.outputs = frozenset(contract.GRAPH_OUTPUTS[role])
        self._users, self._items = users, items
        self.seconds = seconds
        self.runs = 0
        self.user_rows = set()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, outputs, feeds):
        self.runs += 1
        self.user_rows.update(feeds[contract.USER_ID].tolist())
        assert self.gate.wait(10), "the test never set the gate"
        time.sleep(self.seconds)
        queries = self._users[feeds[contract.USER_ID]]
        if contract.ITEM_ID in feeds:
            return [queries @ self._items[feeds[contract.ITEM_ID]].T]
        scores = queries @ self._items.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, : int(feeds[contract.K][0])]
        arrays = {contract.ITEM_ID: order.astype(np.int64), contract.SCORE_OUT: np.take_along_axis(scores, order, 1)}
        return [arrays[name] for name in outputs]


class StubModel:
    """A `Model` that ranks for each user one item, of the user's own row number.

    A cleared `gate` holds runs back, `seconds` slows them, `failing_rows` raise; `batches` has the user rows of every run.
    """

    provider = "cpu"
    max_rows_per_run = 1000

    def __init__(self, failing_rows=()):
        self.manifest = _manifest(users=1000, items=1000, interaction_count=0)
        self.failing_rows = frozenset(failing_rows)
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0
        self.batches = []

    def rank(self, queries):
        self.batches.append([query.user_row for query in queries])
        assert self.gate.wait(10), "the test never set the gate"
        time.sleep(self.seconds)
        if self.failing_rows.intersection(self.batches[-1]):
            raise ZeroDivisionError
        return [Ranking(np.array([query.user_row]), np.ones(1, np.float32), "full_scan") for query in queries]


def even_likes_even(users=6, items=8):
    """Tables whose answer is known by reasoning: even users like even items, odd users odd ones, lower rows more."""
    user_table = np.zeros((users, 2), np.float32)
    user_table[np.arange(users), np.arange(users) % 2] = 1
    item_table = np.zeros((items, 2), np.float32)
    item_table[np.arange(items), np.arange(items) % 2] = 1 - np.arange(items) / (10 * items)
    return user_table, item_table


def fake_model(users=6, items=8, user_ids=None, item_ids=None, interactions=None, metadata=None, seconds=0.0):
    """A model over `even_likes_even`; `interactions` are pairs of rows; ids are row numbers unless vocabularies say otherwise."""
    user_table, item_table = even_likes_even(users, items)
    bundle = Bundle(
        folder=Path("nowhere"),
        manifest=_manifest(users, items, len(interactions or ())),
        users=user_ids or RowNumbers(users),
        items=item_ids or RowNumbers(items),
        golden=_golden(user_table, item_table),
        item_metadata=JsonLines(np.frombuffer(b"".join(encode_lines(metadata)), np.uint8)) if metadata else None,
        interactions=Interactions.from_pairs(*np.array(interactions, np.int64).T, users, items) if interactions else None,
    )
    return Model(bundle, {role: FakeSession(role, user_table, item_table, seconds) for role in contract.GRAPHS})


def _manifest(users, items, interaction_count):
    return Manifest(
        name="fake",
        version="1",
        created="2026-01-01T00:00:00Z",
        similarity="cosine",
        users=users,
        items=items,
        dim=2,
        ids={"user": "row", "item": "row"},
        graphs=contract.GRAPHS,
        files=(),
        interactions=interaction_count,
    )


def _golden(user_table, item_table):
    scores = (user_table[:1] @ item_table.T).astype(np.float64)
    rows = np.argsort(-scores, axis=1, kind="stable")
    return Golden(np.array([0]), rows, np.take_along_axis(scores, rows, 1), np.arange(len(item_table)), scores)
