"""The programs of docs/client.md and of the README, run unchanged against a demo service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recoserve.demo import BUNDLE
from tests.server import serving

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "client.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def demo():
    with serving(BUNDLE) as server:
        yield server


def output(program, demo):
    """What a program prints when its service is the demo."""
    program = program.replace("http://127.0.0.1:8000", demo.url)
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def test_the_programs_of_the_page_print_what_it_says(demo):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    outputs = re.findall(r"^prints\n\n```text\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)

    assert len(blocks) == len(outputs) == 5
    assert "".join(outputs) == output("\n".join(blocks), demo)


def test_the_readmes_program_prints_three_books(demo):
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Client(" in block]
    lines = output(program, demo).splitlines()

    assert len(lines) == 3
    assert all(re.match(r"0\.\d\d \{'title': ", line) for line in lines)


def test_every_method_and_error_is_on_the_page():
    from recoserve.client import Client, errors

    methods = [name for name in vars(Client) if not name.startswith("_") and name != "send"]
    assert len(methods) > 10
    for name in methods:
        assert f"`{name}(" in PAGE or f"client.{name}(" in PAGE, name
    for error in (errors.ServiceProblem, errors.UnexpectedResponse, errors.ConnectionFailed, errors.TimedOut):
        assert f"| `{error.__name__}` |" in PAGE
