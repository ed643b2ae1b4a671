"""The batch benchmark's own checks: a user who is lost, doubled or answered wrongly doesn't get past them."""

import shutil

import numpy as np
import pytest

from recoserve.batch import parts, table
from recoserve.batch.plan import make_plan
from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from recoserve_bench import batch
from recoserve_bench.errors import SystemFailed
from recoserve_export import export_model
from tests.export.models import random_tables

USERS, ITEMS, K = 12, 30, 4


@pytest.fixture(scope="module")
def tables():
    return [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in random_tables(USERS, ITEMS)]


@pytest.fixture
def output(tables, tmp_path):
    """Three parts of four users each."""
    export_model(tuple(tables), tmp_path / "bundle", name="many")
    model = load_model(tmp_path / "bundle")
    document = make_plan(model.bundle, K).document()
    with parts.opened(tmp_path / "out.parquet", document, table.Tables(model.bundle, document), 0) as found:
        for start in range(0, USERS, 4):
            found.add(start, model.rank([Query(user, K) for user in range(start, start + 4)]))
    return tmp_path / "out.parquet"


def test_whole_parts_pass(output, tables):
    assert batch.check(output, *tables, K, USERS) == {"finished": USERS, "parts": 3, "wrong": 0, "checked": USERS}


def test_lost_users_are_found(output, tables):
    batch.parts(output)[1].unlink()

    with pytest.raises(SystemFailed, match="users are not 4"):
        batch.check(output, *tables, K, USERS)


def test_doubled_users_are_found(output, tables):
    first, second, _ = batch.parts(output)
    shutil.copy(first, second)

    with pytest.raises(SystemFailed, match="each once"):
        batch.check(output, *tables, K, USERS)


def test_wrong_answers_are_counted(output, tables):
    """Against other vectors hardly any answer is right."""
    others = [np.roll(rows, 1, axis=1) for rows in tables[:1]]

    assert batch.check(output, *others, tables[1], K, USERS)["wrong"] > USERS // 2


def test_memory_is_told_once_warm():
    """The first fifth doesn't count; early and late are means of quarters of the rest."""
    assert batch.warm([900.0, 0.0, *[10.0] * 6, 30.0, 50.0]) == {"early_mib": 10.0, "late_mib": 40.0, "most_mib": 50.0}
