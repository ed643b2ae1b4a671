"""`python -m recoserve_bench.oracle`: random requests to every endpoint of a real service, each response checked in float64.

Run it in the repository: the oracle and the bundles are those of its tests.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from tests import movielens
from tests.oracle import bundles

from recoserve.errors import ExportRefused, RecoserveError
from recoserve_bench import machine, report
from recoserve_bench.oracle import run as task

SHOWN = 10  # wrong responses that are printed, with their requests

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    requests: Annotated[int, typer.Option(min=1, help="Requests to each retrieval path, over all endpoints and models.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same requests.")] = 0,
    models: Annotated[str, typer.Option(help=f"Which of {', '.join(bundles.KINDS)}, with commas.")] = ",".join(bundles.KINDS),
    retrieval: Annotated[str, typer.Option(help=f"Which of {', '.join(task.PATHS)}, with commas.")] = ",".join(task.PATHS),
    epochs: Annotated[int | None, typer.Option(min=1, help="Times round the users in training.", show_default="1 or 2")] = None,
    callers: Annotated[int, typer.Option(min=1, help="Requests in flight at once.")] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Train and serve MovieLens bundles, send requests, and compare; exit code 1 where a response isn't what the oracle expects."""
    names, paths = models.split(","), retrieval.split(",")
    if unknown := {*names, *paths} - {*bundles.KINDS, *task.PATHS}:
        raise typer.BadParameter(f"no such model or retrieval path: {', '.join(sorted(unknown))}")
    if not movielens.HERE:
        raise ExportRefused(movielens.ABSENT)
    with tempfile.TemporaryDirectory(prefix="recoserve-oracle-") as folder:
        trained = bundles.make(Path(folder), names, epochs)
        worlds = {bundle.world.name: bundle.world for bundle in trained}
        figures, wrong = [], []
        for path in paths:
            outcomes = list(task.run(Path(folder) / "models", worlds, names[0], requests, seed, path, callers))
            figures += task.figures_of(outcomes, path)
            wrong += [outcome for outcome in outcomes if outcome.findings]
    report.out.print(f"\noracle: {requests:,} requests, seed {seed}, {callers} at once\n{machine.description()}", markup=False)
    task.print_figures(figures)
    for outcome in wrong[:SHOWN]:
        request = f"{outcome.endpoint} {str(outcome.body)[:600]}"
        report.out.print(f"\n{request}\n  {outcome.status}: {'; '.join(outcome.findings[:3])}", markup=False)
    report.write_json(json_file, figures)
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        app()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
