"""`python -m recoserve_bench.seeds`: every kind of model that must export, from training to its responses over HTTP."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from recoserve.errors import RecoserveError
from recoserve_bench import machine, report
from recoserve_bench.seeds.data import read
from recoserve_bench.seeds.rows import ROWS, SEEDS
from recoserve_bench.seeds.run import Task, print_figures, run

HERE = Path(os.environ.get("MOVIELENS", Path(__file__).parents[4] / "shared/data/ml-latest-small"))

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    rows: Annotated[str, typer.Option(help=f"Which of {', '.join(ROWS)}, with commas between; default: all.")] = ",".join(ROWS),
    movielens: Annotated[Path, typer.Option(envvar="MOVIELENS", help="Folder of ml-latest-small.")] = HERE,
    epochs: Annotated[int, typer.Option(min=1, help="How often each model sees the ratings.")] = 2,
    users: Annotated[int, typer.Option(min=1, help="Users whose items are compared.")] = 100,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Items for each user.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Build, train, save, export, serve and compare each model; exit code 1 where one is wrong."""
    chosen = [word.strip() for word in rows.split(",")]
    if unknown := [row for row in chosen if row not in ROWS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: no such row; there are {', '.join(ROWS)}", param_hint="--rows")
    with tempfile.TemporaryDirectory(prefix="recoserve-seeds-") as folder:
        task = Task(read(movielens.absolute()), Path(folder), epochs, users, k)
        figures = run([seed for seed in SEEDS if seed.row in chosen], task, lambda line: report.out.print(line, markup=False))
    report.out.print(f"\nseeds: top-{k} of {users} users over 9,742 films, {epochs} epochs\n{machine.description()}", markup=False)
    print_figures(figures)
    report.write_json(json_file, figures)
    if not all(figure["right"] for figure in figures):
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        app()
    except RecoserveError as error:
        sys.exit(f"error: {error}")
