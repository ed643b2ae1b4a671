"""Admission in rows, and which rows a batch takes: no clock, no thread."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import Overloaded
from recoserve.scheduling.batch import Submission
from recoserve.scheduling.queue import RowQueue, fair_shares

MODEL = SimpleNamespace(max_rows_per_run=1000)


def submission(*queries, model=MODEL, cheap=True):
    return Submission(model, queries, None, cheap, deadline=0.0, submitted_at=0.0, future=None)


def queue_of(*submissions, max_rows=100, max_batch_rows=4):
    queue = RowQueue(max_rows, max_batch_rows)
    for waiting in submissions:
        queue.admit(waiting, running_rows=0)
    return queue


def slices(batch):
    return [list(queries) for _, queries in batch.slices]


def test_rows_that_wait_and_rows_that_run_share_one_bound():
    queue = queue_of(submission(1, 2), max_rows=5)

    with pytest.raises(Overloaded):
        queue.admit(submission(3, 4), running_rows=2)
    queue.admit(submission(3), running_rows=2)
    assert queue.rows == 3


def test_a_withdrawn_submission_returns_the_rows_that_no_batch_has_taken():
    large = submission(1, 2, 3, 4, 5, 6)
    queue = queue_of(large)
    queue.next_batch()

    assert queue.rows == 2
    assert queue.withdraw(large)
    assert queue.rows == 0
    assert not queue.withdraw(large)


def test_a_batch_takes_the_oldest_submissions_model_alone():
    other = SimpleNamespace(max_rows_per_run=1000)
    queue = queue_of(submission(1), submission(2, model=other), submission(3))

    assert slices(queue.next_batch()) == [[1], [3]]
    assert slices(queue.next_batch()) == [[2]]


def test_a_large_submission_gets_its_share_and_goes_on_in_the_next_batches():
    queue = queue_of(submission(*range(6)), submission(20), submission(21), submission(22))

    assert slices(queue.next_batch()) == [[0], [20], [21], [22]]
    assert slices(queue.next_batch()) == [[1, 2, 3, 4]]
    assert slices(queue.next_batch()) == [[5]]


def test_one_costly_submission_makes_its_batch_costly():
    assert not queue_of(submission(1), submission(2, cheap=False)).next_batch().cheap
    assert queue_of(submission(1), submission(2)).next_batch().cheap


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 100))
def test_shares_fill_the_room_and_no_submission_goes_short_for_a_larger_one(waiting_rows, room):
    """Law: sum == min(room, waiting), and where there is a row for each, each gets all its rows or at least an equal share."""
    shares = fair_shares(waiting_rows, room)

    assert sum(shares) == min(room, sum(waiting_rows))
    assert all(0 <= share <= rows for share, rows in zip(shares, waiting_rows, strict=True))
    if len(waiting_rows) <= room:
        assert all(share >= min(rows, room // len(waiting_rows)) for share, rows in zip(shares, waiting_rows, strict=True))
