"""Shows the progress of a training run on stderr: a bar on a terminal, a line for each epoch elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EpochReport = Callable[[int, float], None]  # called with each finished epoch, from 1, and its mean loss


@contextmanager
def epochs_shown(epoch_count: int, dim: int) -> Iterator[EpochReport]:
    """Yields a function to call after each of `epoch_count` epochs, which shows it; `dim` distinguishes the runs of a sweep."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda epoch, loss: console.print(f"dim {dim} epoch {epoch}/{epoch_count} loss {loss:.4f}", highlight=False)
        return
    columns = (TextColumn(f"training, dim {dim}"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("training", total=epoch_count, loss="…")
        yield lambda epoch, loss: bar.update(task, completed=epoch, loss=f"{loss:.4f}")
