"""What a newcomer types, as the README has it."""

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.export.models import keras_model, random_tables
from tests.server import until

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def recoserve(line, folder):
    """A `recoserve …` line in a folder, with this environment's Python."""
    arguments = shlex.split(line, comments=True)
    assert arguments[0] == "recoserve"
    return subprocess.run(
        [sys.executable, "-m", "recoserve", *arguments[1:]], capture_output=True, text=True, cwd=folder, timeout=300
    )


@pytest.fixture
def demo():
    """`recoserve demo` on a free port, as `make demo` starts it: its address, and what it printed until it answered."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "recoserve", "demo", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    printed = []
    while "Ctrl-C" not in "".join(printed):
        line = process.stdout.readline()
        assert line, "the demo ended before it answered"
        printed.append(line)
    yield f"http://127.0.0.1:{port}", "".join(printed)
    process.terminate()
    process.wait(timeout=30)


def test_the_curl_line_gives_ten_books_and_what_the_demo_prints_is_that_line(demo):
    url, printed = demo
    (line,) = [block.strip() for block in blocks("bash") if block.startswith("curl")]
    here = line.replace("http://127.0.0.1:8000", url)
    assert here in printed
    answer = json.loads(subprocess.run(shlex.split(here), capture_output=True, text=True, check=True).stdout)

    scores = [item["score"] for item in answer["items"]]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    shown = json.loads(re.sub(r"…[^…]*…", "", blocks("json")[0]).replace(",\n  \n]", "]"))
    assert [item["metadata"] for item in shown["items"]] == [item["metadata"] for item in answer["items"][:2]]
    assert [item["item_id"] for item in shown["items"]] == [item["item_id"] for item in answer["items"][:2]]
    assert shown["model"] == answer["model"]
    assert httpx.get(url + "/docs").status_code == 200


def test_a_keras_file_exports_and_is_served_as_the_lines_say(tmp_path):
    keras_model(*random_tables()).save(tmp_path / "model.keras")
    np.save(tmp_path / "user_ids.npy", np.arange(1, 41))
    np.save(tmp_path / "item_ids.npy", np.arange(1, 61))
    (tmp_path / "movies.csv").write_text("movieId,title\n" + "".join(f"{item},Film {item}\n" for item in range(1, 61)))
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("recoserve")]
    export, serve = (next(line for line in lines if line.startswith(f"recoserve {command}")) for command in ("export", "serve"))

    done = recoserve(export, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "parity" in done.stdout
    process = subprocess.Popen(
        [sys.executable, "-m", "recoserve", *shlex.split(serve)[1:], "--port", "0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "serving" in until(process.stderr.readline)
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_training_and_recommending_as_the_lines_say(tmp_path):
    """On the demo library's own files, under the README's names."""
    subprocess.run([sys.executable, "-m", "recoserve.demo.library", tmp_path], check=True, capture_output=True)
    (tmp_path / "books.csv").rename(tmp_path / "movies.csv")
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("recoserve")]
    for command in ("train", "recommend"):
        done = recoserve(next(line for line in lines if line.startswith(f"recoserve {command}")), tmp_path)
        assert done.returncode == 0, done.stderr
    assert "Romance" in done.stdout or "title" in done.stdout


def test_the_lines_of_python_export_a_live_model(tmp_path):
    model = keras_model(*random_tables())
    (tmp_path / "movies.csv").write_text("movieId,title\n" + "".join(f"{row + 1},Film {row}\n" for row in range(60)))
    program = blocks("python")[0].replace('"models/', f'"{tmp_path}/models/').replace('"movies.csv"', f'"{tmp_path}/movies.csv"')
    names = {"model": model, "user_ids": list(range(1, 41)), "item_ids": list(range(1, 61))}

    exec(program, names)  # noqa: S102  # the README's own lines
    assert "parity" in str(names["report"])


def test_the_two_commands_are_make_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= targets & set(re.findall(r"`make ([a-z-]+)`", README))
