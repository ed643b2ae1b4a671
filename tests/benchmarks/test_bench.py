"""`recoserve bench`: complete runs of real processes, on tables so small that they take moments."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from recoserve_bench import growth
from recoserve_bench.command import bench
from recoserve_bench.errors import SystemFailed
from recoserve_bench.http.bench import SERVERS
from recoserve_bench.peers.install import HERE, PEERS, interpreter
from recoserve_bench.retrieval.bench import SYSTEMS
from recoserve_bench.retrieval.parent import Process, System

ROOT = Path(__file__).parents[2]
JOB = {"users": "", "items": "", "user_rows": 1, "k": 1, "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


def run(command, *words):
    return CliRunner().invoke(bench, [*command.split(), *map(str, words)])


def test_retrieval_measures_and_checks_every_system_and_names_those_left_out(folder):
    to = folder / "figures.json"
    command = "retrieval --items 500 --dim 8 --batches 1,4 --users 20 --seconds 0.01 --rounds 2 --against numpy,faiss"
    done = run(command, "--folder", folder, "--peers", folder / "none", "--json", to)

    assert done.exit_code == 0, done.output
    assert "left out, not installed: faiss-flat" in done.output
    figures = json.loads(to.read_text())
    assert [(figure["system"], figure["batch"]) for figure in figures] == [
        ("int8_read", 1),
        ("recoserve", 1),
        ("recoserve", 4),
        ("numpy", 1),
        ("numpy", 4),
    ]
    for figure in figures:
        assert (figure["items"], figure["dim"]) == (500, 8)
        assert 0 < figure["median_ms"] <= figure["p99_ms"]
        assert figure["per_second"] > 0
    assert [figure["recall"] for figure in figures] == [None, 1.0, 1.0, 1.0, 1.0]
    assert [(figure["wrong"], figure["checked"]) for figure in figures[1:]] == [(0, 20)] * 4
    assert sum(figures[1]["paths"].values()) == 20


def test_http_loads_every_server_in_closed_and_open_loops(folder):
    to = folder / "http.json"
    command = "http --items 50 --dim 4 --connections 1,2 --seconds 0.1 --rounds 1 --open-loop 0.2 --open-seconds 1 --against naive"
    done = run(command, "--folder", folder, "--json", to)

    assert done.exit_code == 0, done.output
    figures = json.loads(to.read_text())
    systems = ["echo", "recoserve", "naive"]
    closed = [(figure["system"], figure["connections"]) for figure in figures if figure["operation"] == "closed_loop"]
    assert sorted(closed) == sorted((system, connections) for system in systems for connections in (1, 2))
    assert [figure["system"] for figure in figures if figure["operation"] == "open_loop"] == ["recoserve", "echo"]
    assert all(figure["failures"] == 0 and 0 < figure["median_ms"] <= figure["p99_ms"] for figure in figures)


def test_scorers_are_compared_with_their_own_graph_in_a_table(folder):
    """A bundle and the framework's graph of a small model take turns; an unknown model is wrong usage."""
    to = folder / "scorers.json"
    command = "scorers --models d --items 300 --batches 1,2 --seconds 0.01 --rounds 1 --no-memory"
    done = run(command, "--folder", folder / "scorers", "--json", to)

    assert done.exit_code == 0, done.output
    assert re.search(r"d +300 +2 +3 ", done.output)
    figures = json.loads(to.read_text())
    assert sorted((figure["system"], figure["batch"]) for figure in figures) == [
        ("recoserve", 1),
        ("recoserve", 2),
        ("tiled", 1),
        ("tiled", 2),
    ]
    assert run("scorers --models e").exit_code == 2


def test_growth_measures_each_size(folder):
    to = folder / "growth.json"
    command = "growth --sizes 300,600 --dim 8 --batches 2 --seconds 0.01 --rounds 1"
    done = run(command, "--folder", folder, "--peers", folder / "none", "--json", to)

    assert done.exit_code == 0, done.output
    sizes = [(figure["items"], figure["system"]) for figure in json.loads(to.read_text())]
    assert sizes == [(items, system) for items in (300, 600) for system in ("int8_read", "recoserve", "onnx")]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("retrieval --against annoy", "no such system: annoy"),
        ("http --against echo", "no such system: echo"),
        ("retrieval --batches 1,x", "not a list of numbers"),
        ("growth --sizes 0", "not a list of numbers"),
    ],
)
def test_wrong_usage_is_an_error_and_nothing_runs(command, message):
    done = run(command)

    assert done.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", done.output)


def test_the_error_of_a_system_that_ends_names_it_and_quotes_its_last_line(tmp_path):
    with pytest.raises(SystemFailed, match=r"broken ended during load: .*No such file"):
        Process(System(name="broken", file="numpy.py"), tmp_path, JOB)


def test_every_peer_has_its_pinned_requirements():
    assert {contender.peer for contender in (*SYSTEMS, *SERVERS) if contender.peer} == set(PEERS)
    for peer in PEERS:
        lines = (HERE / f"{peer}.txt").read_text().splitlines()
        assert "==" in lines[0] and lines[0].startswith((peer, f"{peer}-cpu", f"{peer}[")), lines


def test_a_peer_that_was_installed_in_part_is_not_installed(tmp_path):
    (tmp_path / "faiss" / "bin").mkdir(parents=True)
    assert interpreter(tmp_path, "faiss") is None

    (tmp_path / "faiss" / "installed.txt").touch()
    assert interpreter(tmp_path, "faiss") == tmp_path / "faiss" / "bin" / "python"


FIGURES = [
    {"system": system, "items": items, "batch": batch, "median_ms": items * batch / 1e4}
    for system in ("recoserve", "onnx")
    for items in (1000, 10_000)
    for batch in (1, 64)
]


def test_the_plot_is_the_same_file_again_or_says_that_it_needs_matplotlib(tmp_path):
    if importlib.util.find_spec("matplotlib"):
        growth.plot(FIGURES, tmp_path / "growth.svg")
        drawn = (tmp_path / "growth.svg").read_text()
        assert "batch of 64" in drawn or drawn.count("<g ") > 20
        growth.plot(FIGURES, tmp_path / "again.svg")
        assert drawn == (tmp_path / "again.svg").read_text()
        return
    with pytest.raises(SystemFailed, match="matplotlib"):
        growth.plot(FIGURES, tmp_path / "growth.svg")


def test_every_command_and_option_is_described():
    page = (ROOT / "docs/performance.md").read_text()
    for name, command in typer.main.get_command(bench).commands.items():
        assert f"recoserve bench {name}" in page, name
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("-")} - {"--help"}
        assert not {option for option in options if f"`{option}" not in page}, f"recoserve bench {name}"
