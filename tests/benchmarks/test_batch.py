"""The batch benchmark's own checks notice a user who is missing, doubled or ranked wrongly."""

import shutil

import numpy as np
import pytest

from recoserve.batch.parquet import RankingTables
from recoserve.batch.part_files import open_part_files
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
    with open_part_files(tmp_path / "out.parquet", document, RankingTables(model.bundle, document), 0) as writer:
        for start in range(0, USERS, 4):
            writer.add(start, model.rank([Query(user, K) for user in range(start, start + 4)]))
    return tmp_path / "out.parquet"


def test_complete_parts_pass(output, tables):
    assert batch.check(output, *tables, K, USERS) == {"finished": USERS, "parts": 3, "wrong": 0, "checked": USERS}


def test_missing_users_are_noticed(output, tables):
    batch.finished_parts(output)[1].unlink()

    with pytest.raises(SystemFailed, match="users are not 4"):
        batch.check(output, *tables, K, USERS)


def test_doubled_users_are_noticed(output, tables):
    first, second, _ = batch.finished_parts(output)
    shutil.copy(first, second)

    with pytest.raises(SystemFailed, match="each once"):
        batch.check(output, *tables, K, USERS)


def test_wrong_rankings_are_counted(output, tables):
    """By other vectors hardly any ranking is right."""
    others = [np.roll(rows, 1, axis=1) for rows in tables[:1]]

    assert batch.check(output, *others, tables[1], K, USERS)["wrong"] > USERS // 2


def test_memory_counts_once_the_command_is_warm():
    """The first fifth of the samples doesn't count; early and late are means over quarters of the others."""
    assert batch.memory_once_warm([900.0, 0.0, *[10.0] * 6, 30.0, 50.0]) == {"early_mib": 10.0, "late_mib": 40.0, "most_mib": 50.0}
