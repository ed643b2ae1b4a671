"""The load generator, against small servers of known behaviour on a real socket."""

import asyncio
import itertools
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from recoserve_bench.http.load import CLOSED, closed_loop, is_complete, open_loop, poisson
from recoserve_bench.http.server import http_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
REQUEST = http_request("/recommend", b'{"user_id":1}')


@contextmanager
def answering(*responses, after=0.0):
    """The port of a server that sends each of `responses` in turn, then the last for ever; None closes the connection."""
    stream = itertools.chain(responses, itertools.repeat(responses[-1]))

    async def serve(reader, writer):
        while await reader.read(4096):
            await asyncio.sleep(after)
            response = next(stream)
            if response is None:
                break
            writer.write(response)
            if b"Connection: close" in response:
                break
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    ready, started, stop = [], threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    started.wait(10)
    try:
        yield ready[0]
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("response", [OK, BUSY, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"])
def test_a_response_is_complete_with_its_last_byte_and_not_before(response):
    assert is_complete(response)
    assert not any(is_complete(response[:end]) for end in range(len(response)))


def test_a_closed_loop_sends_as_many_requests_as_it_may():
    with answering(OK) as port:
        done = closed_loop(port, itertools.repeat(REQUEST), 4, 60, most=100)

    assert (len(done.latencies), done.statuses, done.failures) == (100, {200: 100}, 0)
    assert done.per_second == pytest.approx(100 / done.seconds)


def test_responses_other_than_200_are_failures():
    with answering(OK, BUSY, BUSY, OK) as port:
        done = closed_loop(port, itertools.repeat(REQUEST), 1, 60, most=10)

    assert (done.statuses, done.failures) == ({200: 8, 503: 2}, 2)


def test_a_connection_that_the_server_closes_is_a_failure():
    with answering(OK, None) as port:
        done = closed_loop(port, itertools.repeat(REQUEST), 1, 60, most=10)

    assert done.statuses == {200: 1, CLOSED: 1}


def test_an_open_loop_counts_from_the_planned_arrival_not_from_the_sending():
    """One connection, responses after 50 ms, five arrivals at once: the n-th waits n times as long."""
    with answering(OK, after=0.05) as port:
        done = open_loop(port, itertools.repeat(REQUEST), 1, np.full(5, 0.01))

    assert done.statuses == {200: 5}
    assert all(latency >= 0.05 * number for number, latency in enumerate(sorted(done.latencies), 1))


def test_an_open_loop_leaves_out_connections_that_the_server_closed_while_they_were_idle():
    last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with answering(last, OK) as port:
        done = open_loop(port, itertools.repeat(REQUEST), 2, np.arange(4) * 0.2)

    assert done.statuses == {200: 4}


def test_arrivals_are_those_of_a_poisson_process():
    times = poisson(rate=1000, seconds=20, seed=1)
    gaps = np.diff(times)

    assert (times >= 0).all() and times[-1] < 20 and (gaps >= 0).all()
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # exponential: the two are one
    assert np.exp(-1) == pytest.approx((gaps > gaps.mean()).mean(), rel=0.03)
