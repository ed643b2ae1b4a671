"""What is told beside the figures, so that they can be had again."""

import os
import shlex
import sys

import pytest

from recoserve_bench import machine


@pytest.mark.parametrize("words", [["bench", "http", "--against", ""], ["bench", "soak", "--folder", "a folder"]])
def test_the_command_can_be_typed_again(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/recoserve", *words])
    assert shlex.split(machine.command()) == ["recoserve", *words]


@pytest.mark.skipif(not hasattr(os, "SCHED_RR"), reason="Linux's schedulers")
@pytest.mark.parametrize(("policy", "told"), [("SCHED_OTHER", False), ("SCHED_RR", True), ("SCHED_FIFO", True)])
def test_a_real_time_priority_is_told(monkeypatch, policy, told):
    monkeypatch.setattr(os, "sched_getscheduler", lambda _pid: getattr(os, policy))
    assert ("real-time priority" in machine.description()) is told
