"""The progress of a batch run, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LINE_SECONDS = 10.0

ReportRanked = Callable[[int], None]  # called with the number of users ranked so far, by an earlier run too


@contextmanager
def show_progress(total: int, resumed_from: int) -> Iterator[ReportRanked]:
    """Show the progress of `total` users, `resumed_from` of them ranked by an earlier run."""
    console = Console(stderr=True, highlight=False)
    if resumed_from:
        console.print(f"going on after {resumed_from:,} of {total:,} users")
    if not console.is_terminal:
        yield line_reporter(total, resumed_from, lambda line: console.print(line, soft_wrap=True))
        return
    columns = (TextColumn("{task.completed:,} of {task.total:,} users"), BarColumn(), _SpeedColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, refresh_per_second=2) as bar:
        task = bar.add_task("users", total=total, completed=resumed_from)
        yield lambda ranked: bar.update(task, completed=ranked)


def line_reporter(
    total: int, resumed_from: int, print_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> ReportRanked:
    """A function that prints at most every `LINE_SECONDS` the users ranked, users a second in this run, and seconds remaining."""
    started = last_printed = clock()

    def report_ranked(ranked: int) -> None:
        nonlocal last_printed
        now = clock()
        if now - last_printed >= LINE_SECONDS:
            last_printed = now
            speed = (ranked - resumed_from) / (now - started)
            print_line(f"{ranked:,} of {total:,} users, {speed:,.0f} users/s, {(total - ranked) / speed:,.0f} s left")

    return report_ranked


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} users/s" if task.speed else "")
