"""Answers are the same bits whatever searches beside them; threads are there as long as their catalogue."""

import gc
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recoserve.search.kernel.library import Library, libraries
from tests.search.kernel.tables import made, rotation, search, wish

ITEMS = 4096 * 4 + 3680 - 9
ROUNDS = 60  # of every caller


@pytest.fixture(scope="module")
def table():
    """Vectors as models have them, whose products round: 64 dimensions, a head of 16."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((ITEMS, 64)) * np.where(np.arange(64) < 16, 3, 0.6)
    return made(items.astype(np.float32), [4096] * 4 + [3680], 16, rotation(rng, 64, 16))


@pytest.fixture(scope="module")
def wanted(table):
    """Of every kind, some without exclusions, some with thousands, some with a mask."""
    rng, found = np.random.default_rng(1), []
    for number in range(130):
        vector = rng.standard_normal(64).astype(np.float32) * np.float32(2.0 ** rng.integers(-20, 20))
        some = np.unique(rng.integers(0, ITEMS, 5000))
        excluded = some if number % 3 == 0 else some[:0]
        found.append(wish(vector, 1 + number % 40, excluded, some[::2] if number % 5 == 0 else None, ITEMS))
    return found


@pytest.fixture(scope="module")
def alone(table, wanted):
    """The answers, each asked alone of one thread."""
    catalogue = table.catalogue(Library(*next(iter(libraries().items()))), 1)
    return [told(search(catalogue, [one])[0]) for one in wanted]


def told(found):
    """An answer to the last bit. How many items were scored depends on who was first."""
    return found.rows.tobytes(), found.products.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_answers_are_the_same_bits_in_any_batch(library, table, wanted, alone, threads):
    """By any number of threads, and by every library."""
    catalogue = table.catalogue(library, threads)
    for size in (1, 2, 3, 7, 64, 65, 130):
        found = [told(one) for at in range(0, 130, size) for one in search(catalogue, wanted[at : at + size])]
        assert found == alone


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_callers_at_once_change_nothing(library, table, wanted, alone, threads):
    """Four callers of one catalogue: its threads are with one of them, the others work alone."""
    catalogue = table.catalogue(library, threads)

    def call(caller):
        rng, wrong = np.random.default_rng(caller), 0
        for _ in range(ROUNDS):
            at, size = rng.integers(0, 130), rng.integers(1, 20)
            wrong += [told(one) for one in search(catalogue, wanted[at : at + size])] != alone[at : at + size]
        return wrong

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(call, range(4))) == [0, 0, 0, 0]


def test_catalogues_have_threads_of_their_own(library, table, wanted, alone):
    """A search of one between searches of the other, both at once."""
    catalogues = [table.catalogue(library, 2) for _ in range(2)]
    with ThreadPoolExecutor(2) as callers:
        answers = [callers.submit(search, catalogues[place % 2], wanted[place : place + 5]) for place in range(120)]
        assert all([told(one) for one in each.result()] == alone[at : at + 5] for at, each in enumerate(answers))


def tasks():
    """The ids of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def soon(holds):
    """Whether something holds before long: threads that have been joined may still be on their way out."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.001)
    return holds()


@pytest.mark.parametrize("used", [True, False], ids=["used", "never used"])
def test_threads_end_with_their_catalogue(library, table, wanted, used):
    gc.collect()
    before = tasks()
    catalogues = [table.catalogue(library, threads) for threads in (1, 2, 4)]
    assert soon(lambda: len(tasks() - before) == 0 + 1 + 3)
    while used and catalogues:
        search(catalogues.pop(), wanted[:3])

    del catalogues
    assert soon(lambda: tasks() <= before)


def ticks(task):
    """What a thread has had of the processor so far."""
    after_name = Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11])


def test_every_thread_takes_part(library, table, wanted):
    before = tasks()
    catalogue = table.catalogue(library, 3)
    assert soon(lambda: len(tasks() - before) == 2)
    workers = tasks() - before

    assert soon(lambda: search(catalogue, wanted) and all(ticks(worker) > 1 for worker in workers))


def test_catalogues_come_and_go_by_the_hundred(library, table, wanted, alone):
    """No search is lost when threads start, and none hangs when they end."""
    before = tasks()
    for place in range(100):
        found = search(table.catalogue(library, 3), wanted[place : place + 2])
        assert [told(one) for one in found] == alone[place : place + 2]
    assert soon(lambda: tasks() <= before)


def test_a_process_may_end_in_the_middle_of_a_search(library):
    """The service's inference thread is a daemon: what it searches must not be taken from it when the interpreter ends."""
    program = """
        import sys, threading, time
        import numpy as np
        from recoserve.search.kernel.library import Library, libraries
        from tests.kernel.tables import made, search, whole_numbers, wish

        rng = np.random.default_rng(0)
        items = whole_numbers(rng, 4096 * 16, 64, 64)
        catalogue = made(items, [4096] * 16).catalogue(Library(sys.argv[1], libraries()[sys.argv[1]]), 3)
        wanted = [wish(vector, 100) for vector in whole_numbers(rng, 64, 64, 64)]

        def forever():
            while True:
                search(catalogue, wanted)

        for _ in range(2):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), library.name]
    for _ in range(3):
        ended = subprocess.run(command, capture_output=True, timeout=60, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")
