"""Memory that is freed goes back to the system."""

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no such settings")

# A large block that was freed teaches the C library to take such blocks from its heap; small ones that stay lie between them then.
PROGRAM = """
import sys
from recoserve import malloc

if sys.argv[1] == "settled":
    malloc.configure()

def memory_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

bytearray(30 << 20)
before, kept, large = memory_mib(), [], []
for _ in range(64):
    large.append(bytearray(1 << 20))
    kept.append(bytearray(4096))
large.clear()
print(memory_mib() - before)
"""


def left_mib(how, **variables):
    command = [sys.executable, "-c", PROGRAM, how]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return float(subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True).stdout)


def test_large_blocks_leave_no_holes():
    assert left_mib("as it is") > 50, "the control: what is to be mended"
    assert left_mib("settled") < 5


def test_the_environment_has_its_way():
    assert left_mib("settled", MALLOC_MMAP_THRESHOLD_=str(32 << 20)) > 50
