"""The queue is bounded in rows, a batch takes what waits, late and cancelled rows are never ranked, and no answers are mixed up."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from recoserve.errors import DeadlineExceeded, NotReady, Overloaded
from recoserve.scheduling.batcher import SOLO_RUNS, Batcher
from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from tests.fakes import StubModel

ROWS = st.lists(st.integers(0, 7), max_size=8).map(lambda rows: np.unique(np.array(rows, np.int64)))
QUERIES = st.tuples(st.integers(0, 5) | st.just(99), st.integers(1, 9), ROWS, st.none() | ROWS.filter(len)).map(
    lambda fields: Query(*fields)
)
STAYS, LEAVES, IS_LATE = "stays", "leaves", "is late"


def soon(seconds=5.0):
    return time.monotonic() + seconds


@asynccontextmanager
async def batching(queue_rows=100, batch_rows=64, inline_seconds=0.0):
    """A batcher of which every run is in the thread, unless a test allows runs on the event loop."""
    batcher = Batcher(queue_rows, batch_rows, inline_seconds)
    yield batcher
    await batcher.close()


class Work(NamedTuple):
    model: Any
    queries: list
    cheap: bool = True


class EncodeBy(NamedTuple):
    """An encoder that is a function of the rankings."""

    encode: Callable


users = EncodeBy(lambda rankings: [int(ranking.item_rows[0]) for ranking in rankings])  # of `StubModel`: whose rankings these are
thread = EncodeBy(lambda _: threading.get_ident())  # where the run was


def submit(batcher, model, *rows, deadline=None):
    """A task of one caller that submits these users' queries at once."""
    return asyncio.ensure_future(submitted(batcher, Work(model, [Query(row, 1) for row in rows]), users, deadline or soon()))


async def submitted(batcher, work, encoder, deadline):
    """What a caller gets: `submit` itself may raise."""
    return await batcher.submit(work, encoder, deadline)


async def ran_on_loop(batcher, model, cheap=True):
    """Whether the event loop ran a row itself."""
    return (await batcher.submit(Work(model, [Query(0, 1)], cheap), thread, soon())).value == threading.get_ident()


async def loop_turns(count=5):
    """Let the event loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


async def started(model, batches=1):
    """Wait until the thread is in that run."""
    while len(model.batches) < batches:
        await asyncio.sleep(0.001)


def sample(name, **labels):
    return REGISTRY.get_sample_value(f"recoserve_{name}", labels) or 0.0


def test_queries_run_off_the_event_loop_and_their_times_come_back():
    async def scene():
        async with batching() as batcher:
            return await batcher.submit(Work(StubModel(), [Query(3, 1)]), thread, soon()), threading.get_ident()

    completed, loop_thread = asyncio.run(scene())
    assert loop_thread != completed.value
    assert completed.queue_seconds >= 0 and completed.run_seconds >= 0


def test_a_model_that_ranks_one_user_at_a_time_is_given_one_a_run():
    """So that deadlines and disconnects are noticed between the runs, however many rows wait."""

    async def scene(model):
        async with batching() as batcher:
            return await asyncio.gather(submit(batcher, model, 1, 2), submit(batcher, model, 3))

    model = StubModel()
    model.max_rows_per_run = 1
    assert [completed.value for completed in asyncio.run(scene(model))] == [[1, 2], [3]]
    assert sorted(model.batches) == [[1], [2], [3]]


def test_the_event_loop_runs_short_batches_itself_until_one_is_slow():
    """A run of unknown length goes to the thread; so do those after a slow one, until the memory of it has faded."""

    async def scene(model):
        async with batching(inline_seconds=0.05) as batcher:
            on_loop = [await ran_on_loop(batcher, model) for _ in range(3)]
            model.seconds = 0.1
            on_loop.append(await ran_on_loop(batcher, model))
            model.seconds = 0.0
            on_loop.append(await ran_on_loop(batcher, model))
            while not await ran_on_loop(batcher, model):
                on_loop.append(False)
            return on_loop

    on_loop = asyncio.run(scene(StubModel()))
    assert on_loop[:5] == [False, True, True, True, False]
    assert len(on_loop) > 5


def test_costly_work_never_runs_on_the_event_loop_nor_counts_as_a_short_run():
    """One costly submission takes its whole batch to the thread; the cheap ones after it are back on the loop at once."""

    async def scene(model):
        async with batching(inline_seconds=0.05) as batcher:
            on_loop = [await ran_on_loop(batcher, model, cheap) for cheap in (True, True, False)]
            model.seconds = 0.1
            on_loop.append(await ran_on_loop(batcher, model, cheap=False))
            model.seconds = 0.0
            on_loop.append(await ran_on_loop(batcher, model))
            return on_loop + await asyncio.gather(*(ran_on_loop(batcher, model, cheap) for cheap in (True, False)))

    assert asyncio.run(scene(StubModel())) == [False, True, False, False, True, False, False]


def test_a_slow_model_stays_off_the_event_loop_however_fast_another_is():
    async def scene(slow, fast):
        async with batching(inline_seconds=0.05) as batcher:
            slow.seconds = 0.1
            await ran_on_loop(batcher, slow)
            on_loop = [await ran_on_loop(batcher, fast) for _ in range(40)]
            return [*on_loop[1:], await ran_on_loop(batcher, slow)]

    assert asyncio.run(scene(StubModel(), StubModel())) == [True] * 39 + [False]


def test_what_arrives_in_one_turn_of_the_loop_is_one_run():
    async def scene(model):
        async with batching() as batcher:
            return await asyncio.gather(*(submit(batcher, model, row) for row in range(10)))

    model = StubModel()
    assert [[row] for row in range(10)] == [completed.value for completed in asyncio.run(scene(model))]
    assert model.batches == [list(range(10))]


def test_after_many_solo_runs_a_row_runs_at_once_until_two_arrive_together():
    """At once: nothing else of the loop has a turn first. Of the two that arrive together the first is not waited for."""

    async def ran_at_once(batcher, model):
        await loop_turns(2)
        other_callbacks = []
        asyncio.get_running_loop().call_soon(other_callbacks.append, True)
        await submit_here(batcher, model)
        return not other_callbacks

    async def submit_here(batcher, model):
        return await batcher.submit(Work(model, [Query(0, 1)]), users, soon())

    async def scene(model):
        async with batching(inline_seconds=5.0) as batcher:
            at_once = [await ran_at_once(batcher, model) for _ in range(SOLO_RUNS + 5)]
            del model.batches[:]
            for _ in range(2):
                await asyncio.gather(*(submit(batcher, model, row) for row in (1, 2, 3)))
            return at_once, await ran_at_once(batcher, model)

    model = StubModel()
    assert asyncio.run(scene(model)) == ([False] * SOLO_RUNS + [True] * 5, False)
    assert model.batches[:3] == [[1], [2, 3], [1, 2, 3]]


def test_a_free_thread_takes_what_waits_up_to_the_limit():
    async def scene(model):
        async with batching(batch_rows=4) as batcher:
            model.gate.clear()
            first = submit(batcher, model, 0)
            await started(model)
            others = [submit(batcher, model, row) for row in range(1, 8)]
            await loop_turns()
            model.gate.set()
            await asyncio.gather(first, *others)

    model = StubModel()
    asyncio.run(scene(model))
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_only_the_query_at_fault_of_a_batch_fails():
    async def scene(model):
        async with batching() as batcher:
            tasks = [submit(batcher, StubModel(), 9)] + [submit(batcher, model, row) for row in range(4)]
            return await asyncio.gather(*tasks, return_exceptions=True)

    _, *results = asyncio.run(scene(StubModel(failing_rows=[2])))
    assert [type(result).__name__ for result in results] == ["Completed", "Completed", "ZeroDivisionError", "Completed"]
    assert [results[row].value for row in (0, 1, 3)] == [[0], [1], [3]]


def test_a_query_at_fault_fails_the_whole_submission_that_it_is_part_of():
    async def scene(model):
        async with batching(batch_rows=2) as batcher:
            tasks = [submit(batcher, model, 1, 2, 3, 4), submit(batcher, model, 5)]
            return await asyncio.gather(*tasks, return_exceptions=True)

    failed, good = asyncio.run(scene(StubModel(failing_rows=[2])))
    assert isinstance(failed, ZeroDivisionError)
    assert good.value == [5]


def test_an_encoder_that_fails_fails_its_own_submission_alone():
    async def scene(model):
        async with batching() as batcher:
            failing = submitted(batcher, Work(model, [Query(0, 1)]), EncodeBy(lambda _: 1 // 0), soon())
            return await asyncio.gather(failing, submit(batcher, model, 1), return_exceptions=True)

    failed, good = asyncio.run(scene(StubModel()))
    assert isinstance(failed, ZeroDivisionError)
    assert good.value == [1]


def test_rows_beyond_the_bound_are_refused_and_room_comes_back():
    async def scene(model):
        async with batching(queue_rows=5) as batcher:
            model.gate.clear()
            first = submit(batcher, model, 0, 1, 2, 3)
            await started(model)
            with pytest.raises(Overloaded):
                await submit(batcher, model, 4, 5)
            second = submit(batcher, model, 4)
            await loop_turns()
            assert sample("queue_depth") == 5
            model.gate.set()
            await asyncio.gather(first, second)
            assert sample("queue_depth") == 0
            return await submit(batcher, model, 0, 1, 2, 3, 4)

    assert asyncio.run(scene(StubModel())).value == [0, 1, 2, 3, 4]


def test_running_rows_count_until_their_run_ends_even_if_their_caller_left():
    async def scene(model):
        async with batching(queue_rows=2) as batcher:
            model.gate.clear()
            leaving = submit(batcher, model, 0, 1)
            await started(model)
            leaving.cancel()
            await loop_turns()
            with pytest.raises(Overloaded):
                await submit(batcher, model, 2)
            model.gate.set()

    asyncio.run(scene(StubModel()))


def test_a_deadline_in_the_queue_is_kept_while_another_runs_and_its_rows_are_never_ranked():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            blocker = submit(batcher, model, 0)
            await started(model)
            late = submit(batcher, model, 1, deadline=soon(0.02))
            patient = submit(batcher, model, 2)
            with pytest.raises(DeadlineExceeded):
                await late  # the gate is still closed
            model.gate.set()
            await asyncio.gather(blocker, patient)

    model = StubModel()
    asyncio.run(scene(model))
    assert model.batches == [[0], [2]]


def test_a_deadline_is_kept_while_its_own_rows_run():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            late, patient = submit(batcher, model, 1, deadline=soon(0.02)), submit(batcher, model, 2)
            with pytest.raises(DeadlineExceeded):
                await late
            model.gate.set()
            return await patient

    assert asyncio.run(scene(StubModel())).value == [2]


def test_deadlines_in_any_order_are_each_kept():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            waits = (0.09, 0.03, 0.06)
            finished = []
            tasks = [submit(batcher, model, row, deadline=soon(wait)) for row, wait in enumerate(waits)]
            for row, task in enumerate(tasks):
                task.add_done_callback(lambda _, row=row: finished.append(row))
            results = await asyncio.gather(*tasks, return_exceptions=True)
            model.gate.set()
            return results, finished

    results, finished = asyncio.run(scene(StubModel()))
    assert [DeadlineExceeded] * 3 == [type(result) for result in results]
    assert finished == [1, 2, 0]


def test_a_deadline_already_spent_never_reaches_the_queue():
    async def scene(model):
        async with batching() as batcher:
            with pytest.raises(DeadlineExceeded):
                await submit(batcher, model, 0, deadline=soon(-1))

    model = StubModel()
    asyncio.run(scene(model))
    assert model.batches == []


def test_if_a_caller_leaves_its_rows_are_removed_and_counted_and_its_neighbours_answered():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            blocker = submit(batcher, model, 0)
            await started(model)
            leaving, staying = submit(batcher, model, 1), submit(batcher, model, 2)
            await loop_turns()
            leaving.cancel()
            await loop_turns()
            assert sample("queue_depth") == 2
            model.gate.set()
            await asyncio.gather(blocker, staying)

    model, before = StubModel(), sample("requests_rejected_total", reason="disconnected")
    asyncio.run(scene(model))
    assert model.batches == [[0], [2]]
    assert sample("requests_rejected_total", reason="disconnected") == before + 1


def test_a_batch_never_mixes_models():
    """A request keeps the model that it took; each is answered by that one, in the order they came."""

    async def scene(old, new):
        async with batching() as batcher:
            old.gate.clear()
            tasks = [submit(batcher, old, 0)]
            await started(old)
            tasks += [submit(batcher, model, row) for row, model in enumerate([old, new, old, new], 1)]
            await loop_turns()
            old.gate.set()
            return await asyncio.gather(*tasks)

    old, new = StubModel(), StubModel()
    assert [completed.value for completed in asyncio.run(scene(old, new))] == [[0], [1], [2], [3], [4]]
    assert old.batches == [[0], [1, 3]]
    assert new.batches == [[2, 4]]


def test_a_large_submission_runs_in_several_batches_and_leaves_room_for_others():
    async def scene(model):
        async with batching(batch_rows=4) as batcher:
            model.gate.clear()
            blocker = submit(batcher, model, 99)
            await started(model)
            large, others = submit(batcher, model, *range(10)), [submit(batcher, model, row) for row in (20, 21, 22, 23)]
            await loop_turns()
            model.gate.set()
            return await asyncio.gather(blocker, large, *others)

    model = StubModel()
    _, large, *others = asyncio.run(scene(model))
    assert large.value == list(range(10))
    assert [completed.value for completed in others] == [[20], [21], [22], [23]]
    assert model.batches == [[99], [0, 20, 21, 22], [1, 2, 3, 23], [4, 5, 6, 7], [8, 9]]
    assert large.run_seconds > 0 and large.queue_seconds >= 0


def test_closing_answers_what_was_admitted_refuses_new_work_and_ends_the_thread():
    async def scene(model):
        batcher = Batcher(100, 1, inline_seconds=0.0)
        model.gate.clear()
        tasks = [submit(batcher, model, row) for row in range(3)]
        await started(model)
        closing = asyncio.ensure_future(batcher.close())
        await loop_turns()
        with pytest.raises(NotReady):
            await submit(batcher, model, 4)
        model.gate.set()
        await closing
        return [task.result().value for task in tasks]

    assert asyncio.run(scene(StubModel())) == [[0], [1], [2]]
    assert not [thread for thread in threading.enumerate() if thread.name == "inference"]


class Watched:
    """A model that also records the size of every run."""

    def __init__(self, model):
        self._model = model
        self.manifest, self.provider, self.max_rows_per_run = model.manifest, model.provider, model.max_rows_per_run
        self.sizes = []

    def rank(self, queries):
        self.sizes.append(len(queries))
        return self._model.rank(queries)


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


def rank_solo(model, query):
    """The ranking of a query in a batch of its own, or the error that it raises."""
    try:
        return model.rank([query])[0]
    except Exception as error:  # noqa: BLE001  # a row that the graph's guard refuses
        return error


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.lists(QUERIES, min_size=1, max_size=3), st.sampled_from([STAYS, STAYS, LEAVES, IS_LATE]), st.integers(0, 3)),
        max_size=20,
    ),
    st.integers(1, 6),
    st.integers(3, 40),
    st.sampled_from([0.0, 1.0]),
)
def test_in_any_mixture_each_caller_gets_what_the_model_gives_it_in_a_batch_of_its_own(
    model, mixture, batch_rows, queue_rows, inline_seconds
):
    """Law: an answer is rank([query]) of that query, whoever else submits, leaves, fails or is late; no row is lost or invented."""
    watched = Watched(model)
    names = ("batch_rows_sum", "queue_duration_seconds_count", "queue_depth")
    before, answered = [sample(name) for name in names], 0

    async def caller(batcher, queries, fate, patience):
        await loop_turns(patience)
        deadline = soon(0.0005) if fate == IS_LATE else soon()
        task = asyncio.ensure_future(submitted(batcher, Work(watched, queries), EncodeBy(list), deadline))
        if fate == LEAVES:
            await loop_turns(patience)
            task.cancel()
        await asyncio.wait([task])
        assert 0 <= sample("queue_depth") <= queue_rows
        return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result().value

    async def scene():
        async with batching(queue_rows, batch_rows, inline_seconds) as batcher:
            return await asyncio.gather(*(caller(batcher, *behaviour) for behaviour in mixture))

    for (queries, fate, _), result in zip(mixture, asyncio.run(scene()), strict=True):
        expected = [rank_solo(model, query) for query in queries]
        failures = [ranking for ranking in expected if isinstance(ranking, Exception)]
        if isinstance(result, asyncio.CancelledError | DeadlineExceeded):
            assert fate in (LEAVES, IS_LATE)
        elif isinstance(result, BaseException):
            assert isinstance(result, Overloaded) or type(result) in map(type, failures)
        else:
            assert not failures
            assert_same(expected, result)
        answered += 0 if isinstance(result, asyncio.CancelledError | DeadlineExceeded | Overloaded) else len(queries)
    ranked, waited, depth = (sample(name) - count for name, count in zip(names, before, strict=True))
    assert answered <= ranked == waited <= sum(len(queries) for queries, _, _ in mixture)
    assert depth == 0
    assert max(watched.sizes, default=0) <= batch_rows


def assert_same(expected, rankings):
    """Rows equal, scores to one unit in the last place."""
    assert [ranking.item_rows.tolist() for ranking in expected] == [ranking.item_rows.tolist() for ranking in rankings]
    for ranking, other in zip(expected, rankings, strict=True):
        np.testing.assert_array_max_ulp(ranking.scores, other.scores, maxulp=1)
