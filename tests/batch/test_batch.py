"""`recoserve batch`: every user's answer, once, in row order, whatever happened on the way."""

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

from recoserve.batch import parts, progress, table
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
def whole(many, tmp_path_factory):
    """What an uninterrupted run writes."""
    output = tmp_path_factory.mktemp("whole") / "out.parquet"
    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    return output


def slowly(bundle, output, *options):
    """The real command, made slow: each user is a run and a file of its own."""
    command = ["batch", bundle, "-o", output, "-k", K, "--batch-rows", 1, "--part-seconds", 0, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "recoserve", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(output):
    return len(list(parts.folder_of(output).glob("part-*.parquet")))


def ended(process, sig):
    """Send a signal and wait; exit code and stderr."""
    process.send_signal(sig)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def assert_answers(output, model, queries):
    """Each row is what `Model.rank` answers to the user's query, in external ids."""
    bundle = model.bundle
    rows = pq.ParquetFile(output).read().to_pylist()
    for row, answer in zip(rows, model.rank(queries), strict=True):
        assert row["item_ids"] == bundle.items.external(answer.item_rows)
        np.testing.assert_allclose(row["scores"], answer.scores, rtol=1e-6)
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
    """Ids are the bundle's own, of its own types."""
    model = load_model(make_bundle(tmp_path / "evens", **ids))
    write_all(model, make_plan(model.bundle, 3), tmp_path / "out.parquet", 4, 10)

    assert_answers(tmp_path / "out.parquet", model, [Query(user, 3) for user in range(6)])
    schema = pq.read_schema(tmp_path / "out.parquet")
    found = (schema.field("user_id").type, schema.field("item_ids").type.value_type, schema.field("scores").type.value_type)
    assert tuple(map(str, found)) == (*types, "float")


def test_excluded_and_seen_items_are_in_no_list(bundle, tmp_path):
    """As `recoserve recommend` leaves them out; a list may be shorter than k."""
    assert (
        recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "-k", 8, "--exclude-seen", "--exclude-item", 2).returncode == 0
    )

    model = load_model(bundle)
    excluded = [np.union1d([2], model.bundle.interactions.of(user)) for user in range(6)]
    assert_answers(tmp_path / "out.parquet", model, [Query(user, 8, rows) for user, rows in enumerate(excluded)])


def test_a_k_above_the_catalogue_gives_all_of_it(bundle, tmp_path):
    recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "-k", 100)

    assert {len(items) for items in pq.read_table(tmp_path / "out.parquet")["item_ids"].to_pylist()} == {8}


def test_a_model_that_runs_for_every_item_works_as_well(tmp_path):
    users, items = random_tables()
    export_model(mlp_module(users, items), tmp_path / "mlp", similarity="model")
    model = load_model(tmp_path / "mlp")
    assert model.most_rows == 1
    assert recoserve("batch", tmp_path / "mlp", "-o", tmp_path / "out.parquet").returncode == 0

    assert_answers(tmp_path / "out.parquet", model, [Query(user, 100) for user in range(len(users))])


def test_a_filter_holds_for_every_user_and_is_part_of_the_plan(bundle, tmp_path):
    """The clauses of a request; what doesn't fit the columns is told as in one."""
    clauses = {"genres": {"any": ["even"]}}
    done = recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "--filter", json.dumps(clauses), "--json")
    assert json.loads(done.stdout)["plan"]["filter"] == clauses
    assert all(item % 2 == 0 for items in pq.read_table(tmp_path / "out.parquet")["item_ids"].to_pylist() for item in items)

    for wrong, told in (('{"genres": {"any": [1]}}', "/filter/genres/any/0"), ("{", "--filter: not valid JSON")):
        refused = recoserve("batch", bundle, "-o", tmp_path / "other.parquet", "--filter", wrong)
        assert refused.returncode == 1 and told in refused.stderr


def test_the_file_tells_what_it_was_made_of(bundle, tmp_path):
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


def test_nothing_but_the_file_is_left(whole):
    assert list(whole.parent.iterdir()) == [whole]


def test_killed_again_and_again_it_loses_and_doubles_nobody(many, whole, tmp_path):
    """SIGKILL at moments that nobody chose: the file is the same, byte for byte, as without one."""
    output = tmp_path / "out.parquet"
    rng, before = np.random.default_rng(5), 0
    for _ in range(3):
        process = slowly(many, output)
        wanted = before + int(rng.integers(1, 150))
        until(lambda wanted=wanted: finished(output) >= wanted, 60)
        assert ended(process, signal.SIGKILL)[0] == -signal.SIGKILL, "it was done before it could be killed"
        assert finished(output) >= before
        before = finished(output)

    process = slowly(many, output, "--json")
    told, errors = process.communicate(timeout=120)
    assert json.loads(told)["resumed_from"] == before
    assert f"going on after {before:,} of 800 users" in errors
    assert output.read_bytes() == whole.read_bytes()
    assert_answers(output, load_model(many), [Query(user, K) for user in range(USERS)])
    assert list(tmp_path.iterdir()) == [output]


def test_killed_while_the_parts_become_one_file(many, whole, tmp_path):
    output = tmp_path / "out.parquet"
    process = slowly(many, output)
    until(lambda: (parts.folder_of(output) / "out.parquet.unfinished").exists(), 120)
    assert ended(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not output.exists()

    again = recoserve("batch", many, "-o", output, "-k", K)
    assert "800 of them finished before" in again.stdout
    assert output.read_bytes() == whole.read_bytes()


def test_killed_between_its_last_two_steps(many, whole, tmp_path):
    """The file is in its place and its parts are not yet removed: the same command removes them and is done."""
    output = tmp_path / "out.parquet"
    output.write_bytes(whole.read_bytes())
    parts.folder_of(output).mkdir()

    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == whole.read_bytes()


def test_ctrl_c_says_how_to_go_on(many, whole, tmp_path):
    output = tmp_path / "out.parquet"
    for _ in range(3):
        process = slowly(many, output)
        until(lambda: finished(output) > 20, 60)
        code, errors = ended(process, signal.SIGINT)
        if code:
            break
        output.unlink()  # a busy machine was done before the signal came

    assert code == 130
    assert "the same command goes on" in errors and "Traceback" not in errors
    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert output.read_bytes() == whole.read_bytes()


@pytest.fixture
def begun(many, tmp_path):
    """An output of which six parts are finished, of a user each."""
    output, model = tmp_path / "out.parquet", load_model(many)
    document = make_plan(model.bundle, K).document()
    with parts.opened(output, document, table.Tables(model.bundle, document), 0) as found:
        for user in range(6):
            found.add(user, model.rank([Query(user, K)]))
    return output


def test_parts_of_another_plan_are_refused_unless_given_up(many, whole, begun):
    """Only what changes the answers makes another plan."""
    done = recoserve("batch", many, "-o", begun, "-k", K + 1, "--exclude-item", 1000)
    assert_mistake(
        done, "k was 7 and is now 8", "exclude_item_ids was [] and is now [1000]", "--restart", str(parts.folder_of(begun))
    )
    assert finished(begun) == 6

    again = recoserve("batch", many, "-o", begun, "-k", K, "--restart", "--threads", 2, "--batch-rows", 100)
    assert "finished before" not in again.stdout
    assert begun.read_bytes() == whole.read_bytes()


def test_parts_of_another_bundle_are_refused(begun, tmp_path):
    other = make_bundle(tmp_path / "other")

    assert_mistake(recoserve("batch", other, "-o", begun, "-k", K), 'model was "many" and is now "evens"', "bundle_digest was")


@pytest.mark.parametrize("damage", ["cut", "gone", "plan"])
def test_a_damaged_part_is_named(many, begun, damage):
    first, second = sorted(parts.folder_of(begun).glob("part-*"))[:2]
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-9])
    elif damage == "gone":
        first.unlink()
    else:
        (parts.folder_of(begun) / "plan.json").unlink()
    named = {"cut": first.name, "gone": second.name, "plan": "plan.json"}[damage]

    assert_mistake(recoserve("batch", many, "-o", begun, "-k", K), named, "damaged", "--restart")


def test_two_runs_never_write_one_output(many, tmp_path):
    output = tmp_path / "out.parquet"
    process = slowly(many, output)
    until(lambda: finished(output) > 5, 60)

    assert_mistake(recoserve("batch", many, "-o", output, "-k", K), "another run is writing")
    ended(process, signal.SIGKILL)


def test_a_file_that_is_there_is_never_overwritten(many, begun):
    """Neither before a run nor, where parts are left, after it."""
    begun.write_text("mine")

    for options in ([], ["--restart"]):
        assert_mistake(recoserve("batch", many, "-o", begun, "-k", K, *options), "already exists")
    assert begun.read_text() == "mine"
    assert finished(begun) == 6


def test_a_full_disk_is_one_error_and_no_loss(many, whole, tmp_path):
    """A limit on the size of files stands for it: the system refuses to write."""
    output = tmp_path / "out.parquet"
    done = subprocess.run(
        [sys.executable, "-m", "recoserve", "batch", many, "-o", output, "-k", str(K)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert_mistake(done, "can't write", "File too large", "the same command goes on")

    assert recoserve("batch", many, "-o", output, "-k", K).returncode == 0
    assert output.read_bytes() == whole.read_bytes()


def test_a_place_that_can_not_be_written_to(bundle, tmp_path):
    (tmp_path / "file").write_text("")

    assert_mistake(recoserve("batch", bundle, "-o", tmp_path / "file" / "out.parquet"), "can't write", "Not a directory")


def test_an_item_that_the_bundle_does_not_know(bundle, tmp_path):
    assert_mistake(recoserve("batch", bundle, "-o", tmp_path / "out.parquet", "--exclude-item", 8), "--exclude-item 8")
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_one_line_names_the_extra(bundle, tmp_path):
    program = "import sys; sys.modules['pyarrow'] = None; from recoserve.cli import main; main()"
    command = [sys.executable, "-c", program, "batch", bundle, "-o", tmp_path / "out.parquet"]

    assert_mistake(subprocess.run(command, capture_output=True, text=True), "pyarrow", "recoserve[batch]")


def test_where_parts_end_leaves_no_trace_in_the_file(bundle, tmp_path):
    """Not even in a column of several pages and row groups: 3,000 users of 400 items, cut anywhere."""
    rng, opened = np.random.default_rng(3), replace(open_bundle(bundle), users=RowNumbers(3000))
    answers = [Ranking(rng.integers(0, 8, 400), rng.random(400, np.float32)) for _ in range(3000)]
    tables = table.Tables(opened, {"k": 400})
    written = set()
    for count in (0, 1, 7, 40):
        cuts = [0, *np.sort(rng.choice(np.arange(1, 3000), count, replace=False)).tolist(), 3000]
        pieces = [tables.of(start, answers[start:stop]) for start, stop in pairwise(cuts)]
        tables.write(tmp_path / "out.parquet", pieces)
        written.add((tmp_path / "out.parquet").read_bytes())

    assert len(written) == 1


def test_answers_out_of_turn_are_a_defect(bundle, tmp_path):
    """Were a run's answers lost, the next ones must not take their place."""
    opened = open_bundle(bundle)
    document = make_plan(opened, 1).document()
    one = [Ranking(np.array([3]), np.ones(1, np.float32))]
    with parts.opened(tmp_path / "out.parquet", document, table.Tables(opened, document), 0) as found:
        found.add(0, one)
        with pytest.raises(RuntimeError, match="1 is the next"):
            found.add(2, one)


def test_lines_tell_speed_and_time_left():
    """One every ten seconds, of this run alone."""
    said, now = [], 0.0
    tell = progress.lines(1000, 400, said.append, lambda: now)
    for second in range(1, 21):
        now = float(second)
        tell(400 + 10 * second)

    assert said == ["500 of 1,000 users, 10 users/s, 50 s left", "600 of 1,000 users, 10 users/s, 40 s left"]


def test_every_option_is_described():
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text()
    help_page = subprocess.run(
        [sys.executable, "-m", "recoserve", "batch", "--help"], capture_output=True, text=True, env={"COLUMNS": "200", "PATH": ""}
    )
    options = set(re.findall(r"--[a-z][a-z-]+", help_page.stdout)) - {"--help"}

    assert len(options) > 8
    assert not {option for option in options if f"`{option}" not in page}
