"""The heading over figures: by it, they can be measured again; and the environment of the processes that are measured."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from recoserve_bench import machine


@pytest.mark.parametrize("words", [["bench", "http", "--against", ""], ["bench", "soak", "--folder", "a folder"]])
def test_the_command_can_be_typed_again(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/recoserve", *words])
    assert shlex.split(machine.command()) == ["recoserve", *words]


@pytest.mark.skipif(not hasattr(os, "SCHED_RR"), reason="Linux's schedulers")
@pytest.mark.parametrize(("policy", "is_real_time"), [("SCHED_OTHER", False), ("SCHED_RR", True), ("SCHED_FIFO", True)])
def test_the_heading_names_a_real_time_priority(monkeypatch, policy, is_real_time):
    monkeypatch.setattr(os, "sched_getscheduler", lambda _pid: getattr(os, policy))
    assert ("real-time priority" in machine.description()) is is_real_time


def test_our_own_processes_find_the_packages_in_any_folder_and_a_peers_process_finds_none(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/inherited")

    *packages, inherited = machine.environment()["PYTHONPATH"].split(os.pathsep)
    assert [name for name in ("recoserve", "recoserve_export", "recoserve_bench") if not is_below(name, packages)] == []
    assert inherited == "/inherited"
    assert machine.environment("faiss")["PYTHONPATH"] == ""


def is_below(name, folders):
    return any((Path(folder) / name / "__init__.py").is_file() for folder in folders)
