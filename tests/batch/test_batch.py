"""`recoserve batch`: every user has one ranking, in row order, however often the command was interrupted."""

import json
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recoserve.batch import part_files, progress
from recoserve.batch.parquet import RankingTables
from recoserve.batch.plan import make_plan
from recoserve.batch.run import write_all
from recoserve.bundle.archive import open_bundle
from recoserve.bundle.vocabulary import RowNumbers
from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query, Ranking
from recoserve_export import export_model
from tests.bundles import make_bundle
from tests.command_line import assert_mistake, recoserve
from tests.export.models import random_tables
from tests.server import until
from tests.test_contract import mlp_module

USERS, ITEMS, K = 800, 50, 7


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A bundle of 800 users with string ids and 50 items with integer ids."""
    folder = tmp_path_factory.mktemp("many") / "1"
    ids = {"user_ids": [f"user-{row}é" for row in range(USERS)], "item_ids": [1000 - 7 * row for row in range(ITEMS)]}
    export_model(random_tables(USERS, ITEMS), folder, name="many", **ids)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(many, tmp_path_factory):
    """The output of an uninterrupted run."""
    output = tmp_path_factory.mktemp("uninterrupted") / "out.parquet"
    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    return output


def start_slow_batch(bundle, output, *options):
    """The real command, made slow: it writes a part file for each user."""
    command = ["batch", bundle, "-o", output, "-k", K, "--batch-rows", 1, "--part-seconds", 0, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "recoserve", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def count_part_files(output):
    return len(list(part_files.part_folder(output).glob("part-*.parquet")))


def stop(process, signal_number):
    """Send a signal and wait; the exit code and stderr."""
    process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def assert_rankings(output, model, queries):
    """Each row is what `Model.rank` returns for the user's query, in external ids."""
    bundle = model.bundle
    rows = pq.ParquetFile(output).read().to_pylist()
    for row, ranking in zip(rows, model.rank(queries), strict=True):
        assert row["item_ids"] == bundle.items.external(ranking.item_rows)
        np.testing.assert_allclose(row["scores"], ranking.scores, rtol=1e-6)
    assert [row["user_id"] for row in rows] == bundle.users.external(range(len(queries)))


@pytest.mark.parametrize(
    ("ids", "types"),
    [
        ({}, ("int64", "int64")),
        ({"user_ids": [9, -4, 2**60, 0, 7, 1], "item_ids": [f"é{row}" for row in range(8)]}, ("int64", "string")),
        ({"user_ids": ["f", "e", "d", "c", "b", "a"], "item_ids": [80 - row for row in range(8)]}, ("string", "int64")),
    ],
)
def test_every_user_has_a_row_in_row_order(tmp_path, ids, types):
    """Ids are external ids, of the bundle's types."""
    model = load_model(make_bundle(tmp_path / "evens", **ids))
    write_all(model, make_plan(model.bundle, 3), tmp_path / "out.parquet", 4, 10)

    assert_rankings(tmp_path / "out.parquet", model, [Query(user, 3) for user in range(6)])
    schema = pq.read_schema(tmp_path / "out.parquet")
    arrow_types = (schema.field("user_id").type, schema.field("item_ids").type.value_type, schema.field("scores").type.value_type)
    assert tuple(map(str, arrow_types)) == (*types, "float")


def test_excluded_and_seen_items_are_in_no_list(bundle, tmp_path):
    """A list may be shorter than k."""
    options = ["-k", 8, "--exclude-seen", "--exclude-item", 2]
    assert recoserve("batch", bundle, "-o", tmp_path / "out.parquet", *options).returncode == 0

    model = load_model(bundle)
    excluded = [np.union1d([2], model.bundle.interactions.of(user)) for user in range(6)]
    assert_rankings(tmp_path / "out.parquet", model, [Query(user, 8, rows) for user, rows in enumerate(excluded)])


def test_a_k_above_the_number_of_items_gives_all_of_them(bundle, tmp_path):
    recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "-k", 100)

    assert {len(items) for items in pq.read_table(tmp_path / "out.parquet")["item_ids"].to_pylist()} == {8}


def test_a_model_that_runs_for_every_item_works_as_well(tmp_path):
    users, items = random_tables()
    export_model(mlp_module(users, items), tmp_path / "mlp", similarity="model")
    model = load_model(tmp_path / "mlp")
    assert model.max_rows_per_run == 1
    assert recoserve("batch", tmp_path / "mlp", "-o", tmp_path / "out.parquet").returncode == 0

    assert_rankings(tmp_path / "out.parquet", model, [Query(user, 100) for user in range(len(users))])


def test_a_filter_holds_for_every_user_and_is_part_of_the_plan(bundle, tmp_path):
    """Its syntax, and the messages for what doesn't fit the columns, are those of a request."""
    clauses = {"genres": {"any": ["even"]}}
    done = recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "--filter", json.dumps(clauses), "--json")
    assert json.loads(done.stdout)["plan"]["filter"] == clauses
    assert all(item % 2 == 0 for items in pq.read_table(tmp_path / "out.parquet")["item_ids"].to_pylist() for item in items)

    for text, message in (('{"genres": {"any": [1]}}', "/filter/genres/any/0"), ("{", "--filter: not valid JSON")):
        refused = recoserve("batch", bundle, "-o", tmp_path / "other.parquet", "--filter", text)
        assert refused.returncode == 1 and message in refused.stderr


def test_the_output_holds_its_plan(bundle, tmp_path):
    done = recoserve("batch", bundle.parent.parent, "-o", tmp_path / "out.parquet", "-k", 2, "--exclude-item", 5, "--json")

    plan = {
        "model": "evens",
        "version": "1",
        "bundle_digest": json.loads((bundle / "manifest.json").read_bytes())["digest"],
        "users": 6,
        "k": 2,
        "exclude_seen": False,
        "exclude_item_ids": [5],
        "filter": {},
    }
    assert json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"recoserve"]) == plan
    summary = json.loads(done.stdout)
    assert summary["plan"] == plan
    assert (summary["users"], summary["resumed_from"]) == (6, 0)
    assert summary["bytes"] == (tmp_path / "out.parquet").stat().st_size


def test_nothing_but_the_output_remains(uninterrupted):
    assert list(uninterrupted.parent.iterdir()) == [uninterrupted]


def test_after_several_kills_no_user_is_lost_or_doubled(many, uninterrupted, tmp_path):
    """After SIGKILL at random moments the output is the same, byte for byte, as that of an uninterrupted run."""
    output = tmp_path / "out.parquet"
    rng, before = np.random.default_rng(5), 0
    for _ in range(3):
        process = start_slow_batch(many, output)
        threshold = before + int(rng.integers(1, 150))
        until(lambda threshold=threshold: count_part_files(output) >= threshold, 60)
        assert stop(process, signal.SIGKILL)[0] == -signal.SIGKILL, "it was done before it could be killed"
        assert count_part_files(output) >= before
        before = count_part_files(output)

    process = start_slow_batch(many, output, "--json")
    stdout, stderr = process.communicate(timeout=120)
    assert json.loads(stdout)["resumed_from"] == before
    assert f"continuing after {before:,} of 800 users" in stderr
    assert output.read_bytes() == uninterrupted.read_bytes()
    assert_rankings(output, load_model(many), [Query(user, K) for user in range(USERS)])
    assert list(tmp_path.iterdir()) == [output]


def test_after_a_kill_while_part_files_are_merged_the_next_run_merges_them(many, uninterrupted, tmp_path):
    output = tmp_path / "out.parquet"
    process = start_slow_batch(many, output)
    until(lambda: (part_files.part_folder(output) / "out.parquet.unfinished").exists(), 120)
    assert stop(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not output.exists()

    again = recoserve("batch", many, "-o", output, "-k", K)
    assert "800 of them finished before" in again.stdout
    assert output.read_bytes() == uninterrupted.read_bytes()


def test_after_a_kill_between_the_last_two_steps_the_next_run_removes_the_part_files(many, uninterrupted, tmp_path):
    """The output is complete, and its part files aren't removed yet."""
    output = tmp_path / "out.parquet"
    output.write_bytes(uninterrupted.read_bytes())
    part_files.part_folder(output).mkdir()

    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == uninterrupted.read_bytes()


def test_ctrl_c_says_how_to_go_on(many, uninterrupted, tmp_path):
    output = tmp_path / "out.parquet"
    for _ in range(3):
        process = start_slow_batch(many, output)
        until(lambda: count_part_files(output) > 20, 60)
        exit_code, stderr = stop(process, signal.SIGINT)
        if exit_code:
            break
        output.unlink()  # a busy machine was done before the signal came

    assert exit_code == 130
    assert "run the same command again" in stderr and "Traceback" not in stderr
    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert output.read_bytes() == uninterrupted.read_bytes()


@pytest.fixture
def interrupted(many, tmp_path):
    """An output of which six part files are finished, of one user each."""
    output, model = tmp_path / "out.parquet", load_model(many)
    plan = make_plan(model.bundle, K).document()
    with part_files.open_part_files(output, plan, RankingTables(model.bundle, plan), 0) as parts:
        for user in range(6):
            parts.add(user, model.rank([Query(user, K)]))
    return output


def test_part_files_of_another_plan_are_refused_without_restart(many, uninterrupted, interrupted):
    """Options that change only the speed make no other plan."""
    done = recoserve("batch", many, "-o", interrupted, "-k", K + 1, "--exclude-item", 1000)
    assert_mistake(
        done,
        "k was 7 and is now 8",
        "exclude_item_ids was [] and is now [1000]",
        "--restart",
        str(part_files.part_folder(interrupted)),
    )
    assert count_part_files(interrupted) == 6

    again = recoserve("batch", many, "-o", interrupted, "-k", K, "--restart", "--threads", 2, "--batch-rows", 100)
    assert "finished before" not in again.stdout
    assert interrupted.read_bytes() == uninterrupted.read_bytes()


def test_part_files_of_another_bundle_are_refused(interrupted, tmp_path):
    other = make_bundle(tmp_path / "other")

    assert_mistake(
        recoserve("batch", other, "-o", interrupted, "-k", K), 'model was "many" and is now "evens"', "bundle_digest was"
    )


@pytest.mark.parametrize("damage", ["cut", "missing", "plan"])
def test_a_damaged_part_file_is_named(many, interrupted, damage):
    first, second = sorted(part_files.part_folder(interrupted).glob("part-*"))[:2]
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-9])
    elif damage == "missing":
        first.unlink()
    else:
        (part_files.part_folder(interrupted) / "plan.json").unlink()
    name = {"cut": first.name, "missing": second.name, "plan": "plan.json"}[damage]

    assert_mistake(recoserve("batch", many, "-o", interrupted, "-k", K), name, "damaged", "--restart")


def test_two_runs_never_write_one_output(many, tmp_path):
    output = tmp_path / "out.parquet"
    process = start_slow_batch(many, output)
    until(lambda: count_part_files(output) > 5, 60)

    assert_mistake(recoserve("batch", many, "-o", output, "-k", K), "another run is writing")
    stop(process, signal.SIGKILL)


def test_an_existing_file_is_never_overwritten(many, interrupted):
    """Not even where there are part files of an interrupted run."""
    interrupted.write_text("mine")

    for options in ([], ["--restart"]):
        assert_mistake(recoserve("batch", many, "-o", interrupted, "-k", K, *options), "already exists")
    assert interrupted.read_text() == "mine"
    assert count_part_files(interrupted) == 6


def test_a_full_disk_is_one_error_and_no_loss(many, uninterrupted, tmp_path):
    """A limit on the size of files stands in for a full disk: the system refuses to write more."""
    output = tmp_path / "out.parquet"
    done = subprocess.run(
        [sys.executable, "-m", "recoserve", "batch", many, "-o", output, "-k", str(K)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert_mistake(done, "can't write", "File too large", "run the same command again")

    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert output.read_bytes() == uninterrupted.read_bytes()


def test_a_folder_that_cannot_be_written_to_is_one_error(bundle, tmp_path):
    (tmp_path / "file").write_text("")

    assert_mistake(recoserve("batch", bundle, "-o", tmp_path / "file" / "out.parquet"), "can't write", "Not a directory")


def test_an_unknown_item_is_refused_before_anything_is_written(bundle, tmp_path):
    assert_mistake(recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "--exclude-item", 8), "--exclude-item 8")
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_one_line_names_the_extra(bundle, tmp_path):
    program = "import sys; sys.modules['pyarrow'] = None; from recoserve.cli import main; main()"
    command = [sys.executable, "-c", program, "batch", bundle, "-o", tmp_path / "out.parquet"]

    assert_mistake(subprocess.run(command, capture_output=True, text=True), "pyarrow", "recoserve[batch]")


def test_part_files_leave_no_trace_in_the_output(bundle, tmp_path):
    """Not even in a column of several pages and row groups: 3,000 users of 400 items, cut anywhere, give the same bytes."""
    rng, opened = np.random.default_rng(3), replace(open_bundle(bundle), users=RowNumbers(3000))
    rankings = [Ranking(rng.integers(0, 8, 400), rng.random(400, np.float32)) for _ in range(3000)]
    tables = RankingTables(opened, {"k": 400})
    outputs = set()
    for count in (0, 1, 7, 40):
        cuts = [0, *np.sort(rng.choice(np.arange(1, 3000), count, replace=False)).tolist(), 3000]
        tables.write(tmp_path / "out.parquet", [tables.table(start, rankings[start:stop]) for start, stop in pairwise(cuts)])
        outputs.add((tmp_path / "out.parquet").read_bytes())

    assert len(outputs) == 1


def test_rankings_that_are_not_of_the_next_users_are_a_defect(bundle, tmp_path):
    """If the rankings of one run were lost, those of the next would be written for the wrong users."""
    opened = open_bundle(bundle)
    plan = make_plan(opened, 1).document()
    rankings = [Ranking(np.array([3]), np.ones(1, np.float32))]
    with part_files.open_part_files(tmp_path / "out.parquet", plan, RankingTables(opened, plan), 0) as parts:
        parts.add(0, rankings)
        with pytest.raises(RuntimeError, match="1 is the next"):
            parts.add(2, rankings)


def test_progress_lines_have_speed_and_remaining_time():
    """One every ten seconds; the speed is that of this run alone."""
    lines, now = [], 0.0
    report_ranked = progress.line_reporter(1000, 400, lines.append, lambda: now)
    for second in range(1, 21):
        now = float(second)
        report_ranked(400 + 10 * second)

    assert lines == ["500 of 1,000 users, 10 users/s, 50 s left", "600 of 1,000 users, 10 users/s, 40 s left"]


def test_every_option_is_described():
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    help_page = subprocess.run(
        [sys.executable, "-m", "recoserve", "batch", "--help"], capture_output=True, text=True, env={"COLUMNS": "200", "PATH": ""}
    )
    options = set(re.findall(r"--[a-z][a-z-]+", help_page.stdout)) - {"--help"}

    assert len(options) > 8
    assert not {option for option in options if f"`{option}" not in page}
