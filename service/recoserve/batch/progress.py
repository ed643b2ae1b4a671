"""Shows the progress of a batch run on standard error: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LINE_SECONDS = 10.0

ReportRanked = Callable[[int], None]  # called with the number of users ranked so far, those of earlier runs included


@contextmanager
def show_progress(user_count: int, resumed_from: int) -> Iterator[ReportRanked]:
    """Show how many of `user_count` users are ranked; earlier runs ranked the first `resumed_from`."""
    console = Console(stderr=True, highlight=False)
    if resumed_from:
        console.print(f"continuing after {resumed_from:,} of {user_count:,} users")
    if not console.is_terminal:
        yield line_reporter(user_count, resumed_from, lambda line: console.print(line, soft_wrap=True))
        return
    columns = (TextColumn("{task.completed:,} of {task.total:,} users"), BarColumn(), _SpeedColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, refresh_per_second=2) as bar:
        task = bar.add_task("users", total=user_count, completed=resumed_from)
        yield lambda ranked_count: bar.update(task, completed=ranked_count)


def line_reporter(
    user_count: int, resumed_from: int, print_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> ReportRanked:
    """A function that prints, every `LINE_SECONDS` at most, the users ranked, users a second in this run, and seconds remaining."""
    started_at = printed_at = clock()

    def report_ranked(ranked_count: int) -> None:
        nonlocal printed_at
        now = clock()
        if now - printed_at >= LINE_SECONDS:
            printed_at = now
            speed = (ranked_count - resumed_from) / (now - started_at)
            seconds_left = (user_count - ranked_count) / speed
            print_line(f"{ranked_count:,} of {user_count:,} users, {speed:,.0f} users/s, {seconds_left:,.0f} s left")

    return report_ranked


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} users/s" if task.speed else "")
