"""With the settings of `malloc.configure`, freed memory goes back to the system."""

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no such settings")

# After the first large block is freed, the C library takes such blocks from its heap; small ones that stay in use lie between them.
PROGRAM = """
import sys
from recoserve import malloc

if sys.argv[1] == "configured":
    malloc.configure()

def memory_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

bytearray(30 << 20)
before, small, large = memory_mib(), [], []
for _ in range(64):
    large.append(bytearray(1 << 20))
    small.append(bytearray(4096))
large.clear()
print(memory_mib() - before)
"""


def unreturned_mib(mode, **variables):
    """How much larger the process is after 64 MiB of large blocks were freed."""
    command = [sys.executable, "-c", PROGRAM, mode]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    completed = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
    return float(completed.stdout)


def test_freed_large_blocks_go_back_to_the_system():
    assert unreturned_mib("default") > 50, "the control: without the settings they don't"
    assert unreturned_mib("configured") < 5


def test_a_setting_of_the_environment_is_left_as_it_is():
    assert unreturned_mib("configured", MALLOC_MMAP_THRESHOLD_=str(32 << 20)) > 50
