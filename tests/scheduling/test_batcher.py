"""The queue is bounded in rows, a batch is what waits, deadlines and disconnects cost nothing, and nobody gets another's answer."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from recoserve.errors import DeadlineExceeded, NotReady, Overloaded
from recoserve.scheduling.batcher import ALONE, Batcher, shares
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
async def batching(queue_rows=100, batch_rows=64, brief_seconds=0.0):
    """Every run in the thread, unless a test asks for brief ones on the loop."""
    batcher = Batcher(queue_rows, batch_rows, brief_seconds)
    yield batcher
    await batcher.close()


def users(ranked):
    """A finish for `StubModel`: whose answers these are."""
    return [int(answer.item_rows[0]) for answer in ranked]


def ask(batcher, model, *rows, deadline=None):
    """Submit these users' queries at once, as one caller."""
    return asyncio.ensure_future(batcher.run(model, [Query(row, 1) for row in rows], users, deadline or soon()))


async def turns(count=5):
    """Let the event loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


async def started(model, batches=1):
    """Wait until the thread is in that run."""
    while len(model.batches) < batches:
        await asyncio.sleep(0.001)


def sample(name, **labels):
    return REGISTRY.get_sample_value(f"recoserve_{name}", labels) or 0.0


def test_queries_run_off_the_event_loop_and_their_times_are_told():
    async def scene():
        async with batching() as batcher:
            done = await batcher.run(StubModel(), [Query(3, 1)], lambda _: threading.get_ident(), soon())
            return done, threading.get_ident()

    done, loop_thread = asyncio.run(scene())
    assert loop_thread != done.result
    assert done.queue_seconds >= 0 and done.run_seconds >= 0


def test_a_model_that_ranks_one_user_at_a_time_is_given_one_a_run():
    """So that deadlines and disconnects are looked at in between, however many wait."""

    async def scene(model):
        async with batching() as batcher:
            return await asyncio.gather(ask(batcher, model, 1, 2), ask(batcher, model, 3))

    model = StubModel()
    model.most_rows = 1
    answers = asyncio.run(scene(model))
    assert [done.result for done in answers] == [[1, 2], [3]]
    assert sorted(model.batches) == [[1], [2], [3]]


def test_brief_runs_are_done_by_the_event_loop_until_one_is_slow():
    """A run of unknown length goes to the thread; so do those after a slow one."""

    async def where(batcher, model):
        return (await batcher.run(model, [Query(0, 1)], lambda _: threading.get_ident(), soon())).result == threading.get_ident()

    async def scene(model):
        async with batching(brief_seconds=0.05) as batcher:
            found = [await where(batcher, model) for _ in range(3)]
            model.seconds = 0.1
            found.append(await where(batcher, model))
            model.seconds = 0.0
            found.append(await where(batcher, model))
            while not await where(batcher, model):
                found.append(False)
            return found

    on_loop = asyncio.run(scene(StubModel()))
    assert on_loop[:5] == [False, True, True, True, False]
    assert len(on_loop) > 5


def test_what_is_not_brief_never_runs_on_the_event_loop_nor_counts_as_a_run_of_its_kind():
    """One in a batch takes the whole batch along; the brief ones after it are back on the loop at once."""

    async def where(batcher, model, brief):
        done = await batcher.run(model, [Query(0, 1)], lambda _: threading.get_ident(), soon(), brief)
        return done.result == threading.get_ident()

    async def scene(model):
        async with batching(brief_seconds=0.05) as batcher:
            found = [await where(batcher, model, brief) for brief in (True, True, False)]
            model.seconds = 0.1
            found.append(await where(batcher, model, False))
            model.seconds = 0.0
            return [
                *found,
                await where(batcher, model, True),
                *await asyncio.gather(*(where(batcher, model, each) for each in (True, False))),
            ]

    assert asyncio.run(scene(StubModel())) == [False, True, False, False, True, False, False]


def test_a_slow_model_is_remembered_however_brief_another_is():
    """Each model's runs are its own: forty brief ones of another don't bring a slow one onto the event loop."""

    async def where(batcher, model):
        return (await batcher.run(model, [Query(0, 1)], lambda _: threading.get_ident(), soon())).result == threading.get_ident()

    async def scene(slow, brief):
        async with batching(brief_seconds=0.05) as batcher:
            slow.seconds = 0.1
            await where(batcher, slow)
            found = [await where(batcher, brief) for _ in range(40)]
            return [*found[1:], await where(batcher, slow)]

    assert asyncio.run(scene(StubModel(), StubModel())) == [True] * 39 + [False]


def test_what_arrives_in_one_turn_of_the_loop_is_one_run():
    async def scene(model):
        async with batching() as batcher:
            return await asyncio.gather(*(ask(batcher, model, row) for row in range(10)))

    model = StubModel()
    assert [[row] for row in range(10)] == [done.result for done in asyncio.run(scene(model))]
    assert model.batches == [list(range(10))]


def test_who_comes_alone_time_after_time_is_not_kept_waiting_for_company():
    """Nothing else of the loop has a turn before the answer is there; until two come at once, whose next run is a common one."""

    async def at_once(batcher, model):
        await turns(2)
        passed = []
        asyncio.get_running_loop().call_soon(passed.append, True)
        await batcher.run(model, [Query(0, 1)], users, soon())
        return not passed

    async def scene(model):
        async with batching(brief_seconds=5.0) as batcher:
            found = [await at_once(batcher, model) for _ in range(ALONE + 5)]
            del model.batches[:]
            for _ in range(2):
                await asyncio.gather(*(ask(batcher, model, row) for row in (1, 2, 3)))
            return found, await at_once(batcher, model)

    model = StubModel()
    assert asyncio.run(scene(model)) == ([False] * ALONE + [True] * 5, False)
    assert model.batches[:3] == [[1], [2, 3], [1, 2, 3]]


def test_a_free_thread_takes_what_waits_up_to_the_limit():
    async def scene(model):
        async with batching(batch_rows=4) as batcher:
            model.gate.clear()
            first = ask(batcher, model, 0)
            await started(model)
            others = [ask(batcher, model, row) for row in range(1, 8)]
            await turns()
            model.gate.set()
            await asyncio.gather(first, *others)

    model = StubModel()
    asyncio.run(scene(model))
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_only_the_guilty_query_of_a_batch_fails():
    async def scene():
        async with batching() as batcher:
            asked = [ask(batcher, StubModel(), 9)] + [ask(batcher, model, row) for row in range(4)]
            return await asyncio.gather(*asked, return_exceptions=True)

    model = StubModel(guilty=[2])
    _, *found = asyncio.run(scene())
    assert [type(one).__name__ for one in found] == ["Done", "Done", "ZeroDivisionError", "Done"]
    assert [found[place].result for place in (0, 1, 3)] == [[0], [1], [3]]


def test_a_result_that_cannot_be_finished_fails_its_own_caller_alone():
    async def scene(model):
        async with batching() as batcher:
            bad = asyncio.ensure_future(batcher.run(model, [Query(0, 1)], lambda _: 1 // 0, soon()))
            return await asyncio.gather(bad, ask(batcher, model, 1), return_exceptions=True)

    bad, good = asyncio.run(scene(StubModel()))
    assert isinstance(bad, ZeroDivisionError)
    assert good.result == [1]


def test_rows_beyond_the_bound_are_refused_and_room_comes_back():
    async def scene(model):
        async with batching(queue_rows=5) as batcher:
            model.gate.clear()
            first = ask(batcher, model, 0, 1, 2, 3)
            await started(model)
            with pytest.raises(Overloaded):
                await ask(batcher, model, 4, 5)
            second = ask(batcher, model, 4)
            await turns()
            assert sample("queue_depth") == 5
            model.gate.set()
            await asyncio.gather(first, second)
            assert sample("queue_depth") == 0
            return await ask(batcher, model, 0, 1, 2, 3, 4)

    assert asyncio.run(scene(StubModel())).result == [0, 1, 2, 3, 4]


def test_rows_that_run_count_until_their_run_ends_though_their_caller_left():
    async def scene(model):
        async with batching(queue_rows=2) as batcher:
            model.gate.clear()
            leaver = ask(batcher, model, 0, 1)
            await started(model)
            leaver.cancel()
            await turns()
            with pytest.raises(Overloaded):
                await ask(batcher, model, 2)
            model.gate.set()

    asyncio.run(scene(StubModel()))


def test_a_deadline_in_the_queue_is_kept_while_another_runs_and_its_rows_are_never_ranked():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            blocker = ask(batcher, model, 0)
            await started(model)
            late = ask(batcher, model, 1, deadline=soon(0.02))
            patient = ask(batcher, model, 2)
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
            late, patient = ask(batcher, model, 1, deadline=soon(0.02)), ask(batcher, model, 2)
            with pytest.raises(DeadlineExceeded):
                await late
            model.gate.set()
            return await patient

    assert asyncio.run(scene(StubModel())).result == [2]


def test_deadlines_in_any_order_are_each_kept():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            waits = (0.09, 0.03, 0.06)
            ended = []
            tasks = [ask(batcher, model, place, deadline=soon(wait)) for place, wait in enumerate(waits)]
            for place, task in enumerate(tasks):
                task.add_done_callback(lambda _, place=place: ended.append(place))
            found = await asyncio.gather(*tasks, return_exceptions=True)
            model.gate.set()
            return found, ended

    found, ended = asyncio.run(scene(StubModel()))
    assert [DeadlineExceeded] * 3 == [type(one) for one in found]
    assert ended == [1, 2, 0]


def test_a_deadline_already_spent_never_reaches_the_queue():
    async def scene(model):
        async with batching() as batcher:
            with pytest.raises(DeadlineExceeded):
                await ask(batcher, model, 0, deadline=soon(-1))

    model = StubModel()
    asyncio.run(scene(model))
    assert model.batches == []


def test_a_caller_that_leaves_is_dropped_counted_and_its_neighbours_answered():
    async def scene(model):
        async with batching() as batcher:
            model.gate.clear()
            blocker = ask(batcher, model, 0)
            await started(model)
            leaver, stayer = ask(batcher, model, 1), ask(batcher, model, 2)
            await turns()
            leaver.cancel()
            await turns()
            assert sample("queue_depth") == 2
            model.gate.set()
            await asyncio.gather(blocker, stayer)

    model, before = StubModel(), sample("requests_rejected_total", reason="disconnected")
    asyncio.run(scene(model))
    assert model.batches == [[0], [2]]
    assert sample("requests_rejected_total", reason="disconnected") == before + 1


def test_a_batch_never_mixes_models():
    """A request keeps the model that it took; each is answered by that one, in the order they came."""

    async def scene(old, new):
        async with batching() as batcher:
            old.gate.clear()
            asked = [ask(batcher, old, 0)]
            await started(old)
            asked += [ask(batcher, model, row) for row, model in enumerate([old, new, old, new], 1)]
            await turns()
            old.gate.set()
            return await asyncio.gather(*asked)

    old, new = StubModel(), StubModel()
    assert [done.result for done in asyncio.run(scene(old, new))] == [[0], [1], [2], [3], [4]]
    assert old.batches == [[0], [1, 3]]
    assert new.batches == [[2, 4]]


def test_a_large_submission_is_answered_in_pieces_and_leaves_room_for_others():
    """A batch is not all of a greedy client's."""

    async def scene(model):
        async with batching(batch_rows=4) as batcher:
            model.gate.clear()
            blocker = ask(batcher, model, 99)
            await started(model)
            greedy, others = ask(batcher, model, *range(10)), [ask(batcher, model, row) for row in (20, 21, 22, 23)]
            await turns()
            model.gate.set()
            return await asyncio.gather(blocker, greedy, *others)

    model = StubModel()
    _, greedy, *others = asyncio.run(scene(model))
    assert greedy.result == list(range(10))
    assert [done.result for done in others] == [[20], [21], [22], [23]]
    assert model.batches == [[99], [0, 20, 21, 22], [1, 2, 3, 23], [4, 5, 6, 7], [8, 9]]
    assert greedy.run_seconds > 0 and greedy.queue_seconds >= 0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 100))
def test_shares_fill_the_room_and_nobody_goes_short_for_a_larger_one(wanted, room):
    """Law: sum == min(room, wanted), and while all fit in one by one each gets what it wants or at least an equal share."""
    given_rows = shares(wanted, room)

    assert sum(given_rows) == min(room, sum(wanted))
    assert all(0 <= got <= rows for got, rows in zip(given_rows, wanted, strict=True))
    if len(wanted) <= room:
        assert all(got >= min(rows, room // len(wanted)) for got, rows in zip(given_rows, wanted, strict=True))


def test_closing_answers_what_was_admitted_refuses_what_comes_and_ends_the_thread():
    async def scene(model):
        batcher = Batcher(100, 1, brief_seconds=0.0)
        model.gate.clear()
        asked = [ask(batcher, model, row) for row in range(3)]
        await started(model)
        closing = asyncio.ensure_future(batcher.close())
        await turns()
        with pytest.raises(NotReady):
            await ask(batcher, model, 4)
        model.gate.set()
        await closing
        return [task.result().result for task in asked]

    assert asyncio.run(scene(StubModel())) == [[0], [1], [2]]
    assert not [thread for thread in threading.enumerate() if thread.name == "inference"]


class Watched:
    """A model that also keeps the size of every run."""

    def __init__(self, model):
        self.rank_alone, self.manifest, self.provider, self.most_rows = model.rank, model.manifest, model.provider, model.most_rows
        self.sizes = []

    def rank(self, queries):
        self.sizes.append(len(queries))
        return self.rank_alone(queries)


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


def alone(model, query):
    """What `Model.rank` gives this query without batch-mates."""
    try:
        return model.rank_alone([query])[0]
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
def test_any_mixture_gives_each_caller_what_the_model_gives_it_alone(model, mixture, batch_rows, queue_rows, brief_seconds):
    """Law: an answer is rank([query]) of that query, whoever else asks, leaves, fails or is late; and no row is lost or made up."""
    watched = Watched(model)
    names = ("batch_rows_sum", "queue_duration_seconds_count", "queue_depth")
    before, answered = [sample(name) for name in names], 0

    async def caller(batcher, queries, fate, patience):
        await turns(patience)
        deadline = soon(0.0005) if fate == IS_LATE else soon()
        task = asyncio.ensure_future(batcher.run(watched, queries, list, deadline))
        if fate == LEAVES:
            await turns(patience)
            task.cancel()
        await asyncio.wait([task])
        assert 0 <= sample("queue_depth") <= queue_rows
        return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result().result

    async def scene():
        async with batching(queue_rows, batch_rows, brief_seconds) as batcher:
            return await asyncio.gather(*(caller(batcher, *each) for each in mixture))

    for (queries, fate, _), found in zip(mixture, asyncio.run(scene()), strict=True):
        expected = [alone(watched, query) for query in queries]
        failures = [one for one in expected if isinstance(one, Exception)]
        if isinstance(found, asyncio.CancelledError | DeadlineExceeded):
            assert fate in (LEAVES, IS_LATE)
        elif isinstance(found, BaseException):
            assert isinstance(found, Overloaded) or type(found) in map(type, failures)
        else:
            assert not failures
            assert_same(expected, found)
        answered += 0 if isinstance(found, asyncio.CancelledError | DeadlineExceeded | Overloaded) else len(queries)
    ranked, waited, depth = (sample(name) - was for name, was in zip(names, before, strict=True))
    assert answered <= ranked == waited <= sum(len(queries) for queries, _, _ in mixture)
    assert depth == 0
    assert max(watched.sizes, default=0) <= batch_rows


def assert_same(expected, found):
    """Rows equal, scores to one unit in the last place."""
    assert [one.item_rows.tolist() for one in expected] == [one.item_rows.tolist() for one in found]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_max_ulp(one.scores, other.scores, maxulp=1)
