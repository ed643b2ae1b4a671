"""The queue: which submissions are admitted, and which of their rows the next batch takes.

It uses neither a clock nor threads, so it can be tested without them. Rows (one a query) are counted, not submissions, because a
submission of a thousand users costs a thousand times what a submission of one user costs.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from recoserve.errors import Overloaded
from recoserve.scheduling.batch import Batch, Submission


class RowQueue:
    """Submissions in the order of their arrival. `rows` of them wait; with those that run they are at most `max_rows`."""

    def __init__(self, max_rows: int, max_batch_rows: int) -> None:
        self._max_rows = max_rows
        self._max_batch_rows = max_batch_rows
        self._waiting: dict[Submission, None] = {}
        self.rows = 0

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._waiting)

    def admit(self, submission: Submission, running_rows: int) -> None:
        """Put a submission at the end; raises Overloaded if its rows don't fit beside those that wait or run."""
        rows = len(submission.queries)
        if self.rows + running_rows + rows > self._max_rows:
            raise Overloaded("too many requests are waiting; try again shortly")
        self._waiting[submission] = None
        self.rows += rows

    def withdraw(self, submission: Submission) -> bool:
        """Remove the submission's rows that are in no batch yet. Returns False if there were no such rows."""
        if submission not in self._waiting:
            return False
        del self._waiting[submission]
        self.rows -= len(submission.queries) - submission.batched_rows
        return True

    def next_batch(self) -> Batch:
        """Take the next batch from the queue, which must not be empty: rows of the oldest submission's model.

        The submissions for that model share the batch fairly.
        """
        oldest = next(iter(self._waiting))
        if len(self._waiting) == len(oldest.queries) == 1:  # most batches of a quiet service: nothing to share
            self._waiting.clear()
            self.rows = 0
            oldest.batched_rows = 1
            return Batch(oldest.model, [(oldest, oldest.queries)], 1, oldest.cheap)
        return self._shared_batch(oldest)

    def _shared_batch(self, oldest: Submission) -> Batch:
        model = oldest.model
        room = min(self._max_batch_rows, model.max_rows_per_run)
        submissions = list(islice((waiting for waiting in self._waiting if waiting.model is model), room))
        waiting_rows = [len(submission.queries) - submission.batched_rows for submission in submissions]
        batch = Batch(model, [], 0, cheap=True)
        for submission, rows in zip(submissions, fair_shares(waiting_rows, room), strict=True):
            start = submission.batched_rows
            submission.batched_rows += rows
            batch.slices.append((submission, submission.queries[start : submission.batched_rows]))
            batch.rows += rows
            batch.cheap = batch.cheap and submission.cheap
            if submission.batched_rows == len(submission.queries):
                del self._waiting[submission]
        self.rows -= batch.rows
        return batch


def fair_shares(waiting_rows: Sequence[int], room: int) -> list[int]:
    """How many rows of each submission a batch of `room` rows takes, given how many wait, oldest first.

    Each gets an equal share, so that a submission of a thousand users doesn't hold up the ones behind it; what some don't need is
    given to the oldest of the others.
    """
    if sum(waiting_rows) <= room:
        return list(waiting_rows)
    equal_share = max(1, room // len(waiting_rows))
    shares = []
    for rows in waiting_rows:
        shares.append(min(rows, equal_share, room))
        room -= shares[-1]
    for index, rows in enumerate(waiting_rows):
        extra = min(rows - shares[index], room)
        shares[index] += extra
        room -= extra
    return shares
