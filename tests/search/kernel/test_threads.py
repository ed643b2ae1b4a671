"""Hits are the same bits whatever is searched for beside them; an index's threads live as long as it does."""

import gc
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recoserve.search.kernel.library import KernelLibrary, libraries
from tests.search.kernel.tables import item_table, random_rotation, search, vector_query

ITEMS = 4096 * 4 + 3680 - 9
QUERIES = 130
ROUNDS = 60  # of every caller


@pytest.fixture(scope="module")
def table():
    """Vectors as models have them, whose products round: 64 dimensions, a head of 16."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((ITEMS, 64)) * np.where(np.arange(64) < 16, 3, 0.6)
    return item_table(items.astype(np.float32), [4096] * 4 + [3680], 16, random_rotation(rng, 64, 16))


@pytest.fixture(scope="module")
def queries(table):
    """Of every kind: some without exclusions, some with thousands, some with a mask."""
    rng, queries = np.random.default_rng(1), []
    for number in range(QUERIES):
        vector = rng.standard_normal(64).astype(np.float32) * np.float32(2.0 ** rng.integers(-20, 20))
        some = np.unique(rng.integers(0, ITEMS, 5000))
        excluded = some if number % 3 == 0 else some[:0]
        queries.append(vector_query(vector, 1 + number % 40, excluded, some[::2] if number % 5 == 0 else None, ITEMS))
    return queries


@pytest.fixture(scope="module")
def solo_bits(table, queries):
    """Each query's hits, from a search for it alone by one thread."""
    index = table.index(KernelLibrary(*next(iter(libraries().items()))), 1)
    return [bits_of(search(index, [query])[0]) for query in queries]


def bits_of(hits):
    """Rows and products to the last bit. How many items were rescored depends on which thread was first."""
    return hits.rows.tobytes(), hits.products.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_hits_are_the_same_bits_in_any_batch(library, table, queries, solo_bits, threads):
    """By any number of threads, and by every library."""
    index = table.index(library, threads)
    for size in (1, 2, 3, 7, 64, 65, QUERIES):
        batches = [queries[start : start + size] for start in range(0, QUERIES, size)]
        assert [bits_of(hits) for batch in batches for hits in search(index, batch)] == solo_bits


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_concurrent_callers_get_the_same_bits(library, table, queries, solo_bits, threads):
    """Four callers of one index: its threads work for one of them, and the others search by themselves."""
    index = table.index(library, threads)

    def call(caller):
        rng, different = np.random.default_rng(caller), 0
        for _ in range(ROUNDS):
            start, size = rng.integers(0, QUERIES), rng.integers(1, 20)
            all_hits = search(index, queries[start : start + size])
            different += [bits_of(hits) for hits in all_hits] != solo_bits[start : start + size]
        return different

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(call, range(4))) == [0, 0, 0, 0]


def test_each_index_has_its_own_threads(library, table, queries, solo_bits):
    """Two indexes are searched at once."""
    indexes = [table.index(library, 2) for _ in range(2)]
    with ThreadPoolExecutor(2) as callers:
        searches = [callers.submit(search, indexes[start % 2], queries[start : start + 5]) for start in range(120)]
        for start, running in enumerate(searches):
            assert [bits_of(hits) for hits in running.result()] == solo_bits[start : start + 5]


def thread_ids():
    """The ids of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def soon(holds):
    """Whether something holds before long: threads that have been joined may still be on their way out."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.001)
    return holds()


@pytest.mark.parametrize("used", [True, False], ids=["used", "never used"])
def test_threads_end_with_their_index(library, table, queries, used):
    gc.collect()
    before = thread_ids()
    indexes = [table.index(library, threads) for threads in (1, 2, 4)]
    assert soon(lambda: len(thread_ids() - before) == 0 + 1 + 3)
    while used and indexes:
        search(indexes.pop(), queries[:3])

    del indexes
    assert soon(lambda: thread_ids() <= before)


def processor_ticks(thread_id):
    """The processor time that a thread has used so far."""
    after_name = Path(f"/proc/self/task/{thread_id}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11])


def test_every_thread_takes_part(library, table, queries):
    before = thread_ids()
    index = table.index(library, 3)
    assert soon(lambda: len(thread_ids() - before) == 2)
    workers = thread_ids() - before

    assert soon(lambda: search(index, queries) and all(processor_ticks(worker) > 1 for worker in workers))


def test_indexes_come_and_go_by_the_hundred(library, table, queries, solo_bits):
    """No search is lost when threads start, and none hangs when they end."""
    before = thread_ids()
    for start in range(100):
        all_hits = search(table.index(library, 3), queries[start : start + 2])
        assert [bits_of(hits) for hits in all_hits] == solo_bits[start : start + 2]
    assert soon(lambda: thread_ids() <= before)


def test_a_process_may_end_during_a_search(library):
    """The service's inference thread is a daemon: what it searches must not be taken from it when the interpreter ends."""
    program = """
        import sys, threading, time
        import numpy as np
        from recoserve.search.kernel.library import KernelLibrary, libraries
        from tests.search.kernel.tables import item_table, search, vector_query, whole_numbers

        rng = np.random.default_rng(0)
        items = whole_numbers(rng, 4096 * 16, 64, 64)
        index = item_table(items, [4096] * 16).index(KernelLibrary(sys.argv[1], libraries()[sys.argv[1]]), 3)
        queries = [vector_query(vector, 100) for vector in whole_numbers(rng, 64, 64, 64)]

        def forever():
            while True:
                search(index, queries)

        for _ in range(2):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), library.name]
    for _ in range(3):
        process = subprocess.run(command, capture_output=True, timeout=60, text=True)
        assert (process.returncode, process.stderr) == (0, "")
