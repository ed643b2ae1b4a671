"""Runs of `recoserve …` in a process of its own, and how a user's mistake ends."""

import os
import subprocess
import sys


def recoserve(*arguments, **environment):
    """The completed process of `python -m recoserve`, with variables added to this process's environment."""
    command = [sys.executable, "-m", "recoserve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def assert_mistake(process, *words):
    """Exit code 1, one clear message, no traceback, nothing on standard output."""
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("error:") and "Traceback" not in process.stderr
    for word in words:
        assert word in process.stderr


def with_path(folder):
    """The variable PYTHONPATH with a folder before what it holds already."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
