"""`python -m recoserve_bench.oracle`: random requests to every endpoint of a real service, each answer checked in float64."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from tests import movielens
from tests.oracle import bundles

from recoserve.errors import ExportRefused, RecoserveError
from recoserve_bench import figures, machine
from recoserve_bench.oracle import run as task

SHOWN = 10  # wrong answers that are printed, with what was asked

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    requests: Annotated[int, typer.Option(min=1, help="Requests of each way of retrieving, over all endpoints and models.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same requests.")] = 0,
    models: Annotated[str, typer.Option(help=f"Which of {', '.join(bundles.KINDS)}, with commas.")] = ",".join(bundles.KINDS),
    retrieval: Annotated[str, typer.Option(help=f"Which of {', '.join(task.WAYS)}, with commas.")] = ",".join(task.WAYS),
    epochs: Annotated[int | None, typer.Option(min=1, help="Times round the users in training.", show_default="1 or 2")] = None,
    callers: Annotated[int, typer.Option(min=1, help="Requests in flight at once.")] = 8,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Train and serve MovieLens bundles, ask, and compare; exit code 1 where an answer isn't what the oracle says."""
    names, ways = models.split(","), retrieval.split(",")
    if unknown := {*names, *ways} - {*bundles.KINDS, *task.WAYS}:
        raise typer.BadParameter(f"no such model or way of retrieving: {', '.join(sorted(unknown))}")
    if not movielens.HERE:
        raise ExportRefused(movielens.ABSENT)
    with tempfile.TemporaryDirectory(prefix="recoserve-oracle-") as folder:
        made = bundles.make(Path(folder), names, epochs)
        worlds = {one.world.name: one.world for one in made}
        found, wrong = [], []
        for way in ways:
            outcomes = list(task.run(Path(folder) / "models", worlds, names[0], requests, seed, way, callers))
            found += task.figures(outcomes, way)
            wrong += [one for one in outcomes if one.wrong]
    figures.out.print(f"\noracle: {requests:,} requests, seed {seed}, {callers} at once\n{machine.description()}", markup=False)
    task.print_figures(found)
    for one in wrong[:SHOWN]:
        figures.out.print(f"\n{one.endpoint} {str(one.body)[:600]}\n  {one.status}: {'; '.join(one.wrong[:3])}", markup=False)
    figures.write_json(to, found)
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        app()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
