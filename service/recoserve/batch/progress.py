"""How far a batch is, on stderr: a bar on a terminal, a line every now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LINE_SECONDS = 10.0

Tell = Callable[[int], None]


@contextmanager
def users_shown(total: int, done: int) -> Iterator[Tell]:
    """A function to call with the number of users that are ranked, `done` of an earlier run included."""
    console = Console(stderr=True, highlight=False)
    if done:
        console.print(f"going on after {done:,} of {total:,} users")
    if not console.is_terminal:
        yield lines(total, done, lambda line: console.print(line, soft_wrap=True))
        return
    columns = (TextColumn("{task.completed:,} of {task.total:,} users"), BarColumn(), _Speed())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, refresh_per_second=2) as bar:
        task = bar.add_task("users", total=total, completed=done)
        yield lambda ranked: bar.update(task, completed=ranked)


def lines(total: int, done: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Tell:
    """Say every `LINE_SECONDS` how many users are ranked, how many a second, and how many seconds are left."""
    began = said = clock()

    def tell(ranked: int) -> None:
        nonlocal said
        now = clock()
        if now - said >= LINE_SECONDS:
            said = now
            speed = (ranked - done) / (now - began)
            say(f"{ranked:,} of {total:,} users, {speed:,.0f} users/s, {(total - ranked) / speed:,.0f} s left")

    return tell


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} users/s" if task.speed else "")
