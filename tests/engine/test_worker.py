"""The queue is bounded in rows, deadlines drop work before it runs, and callers that left cost nothing."""

import asyncio
import threading
import time

import pytest

from service.engine.worker import Worker
from service.errors import DeadlineExceeded, Overloaded


def soon(seconds=5.0):
    return time.monotonic() + seconds


def test_a_job_runs_off_the_event_loop_and_tells_its_times():
    async def scene():
        done = await Worker(1).run(threading.get_ident, 1, soon())
        return done, threading.get_ident()

    done, loop_thread = asyncio.run(scene())
    assert loop_thread != done.result
    assert done.queue_seconds >= 0 and done.run_seconds >= 0


def test_what_a_job_raises_reaches_its_caller():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Worker(1).run(lambda: 1 // 0, 1, soon()))


def test_rows_beyond_the_bound_are_refused_and_room_comes_back():
    async def scene():
        worker, gate = Worker(5), threading.Event()
        first = asyncio.create_task(worker.run(lambda: gate.wait(5), 4, soon()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await worker.run(int, 2, soon())
        second = asyncio.create_task(worker.run(int, 1, soon()))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, second)
        return await worker.run(lambda: "room", 5, soon())

    assert asyncio.run(scene()).result == "room"


def test_a_job_whose_deadline_passes_in_the_queue_never_runs():
    async def scene():
        worker, gate, ran = Worker(5), threading.Event(), []
        blocker = asyncio.create_task(worker.run(lambda: gate.wait(5), 1, soon()))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await worker.run(lambda: ran.append(1), 1, soon(0.02))
        gate.set()
        await blocker
        await worker.run(int, 1, soon())
        return ran

    assert asyncio.run(scene()) == []


def test_a_deadline_already_spent_never_reaches_the_queue():
    with pytest.raises(DeadlineExceeded):
        asyncio.run(Worker(1).run(int, 1, time.monotonic() - 1))


def test_a_caller_that_leaves_is_dropped_and_its_neighbours_answered():
    async def scene():
        worker, gate, ran = Worker(5), threading.Event(), []
        blocker = asyncio.create_task(worker.run(lambda: gate.wait(5), 1, soon()))
        leaver = asyncio.create_task(worker.run(lambda: ran.append("leaver"), 1, soon()))
        stayer = asyncio.create_task(worker.run(lambda: ran.append("stayer"), 1, soon()))
        await asyncio.sleep(0.01)
        leaver.cancel()
        await asyncio.sleep(0.01)  # the cancellation reaches the queue before the thread goes on
        gate.set()
        await asyncio.gather(blocker, stayer)
        return ran

    assert asyncio.run(scene()) == ["stayer"]
