"""The files that `recoserve train` is asked to write, and checks of them before any training."""

from dataclasses import dataclass
from pathlib import Path

import typer

from recoserve.bundle.draft import Draft
from recoserve.errors import ExportRefused
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.training import sweep_plot


@dataclass(frozen=True)
class Outputs:
    """The paths to write, None for a file that was not requested; `plot` and `json` belong to a sweep.

    `out` is the bundle, `save_model` the model in its framework's own format.
    """

    out: Path | None
    save_model: Path | None
    plot: Path | None
    json: Path | None


def check_outputs(outputs: Outputs, architecture: str, is_sweep: bool) -> None:
    """Raise BadParameter for options that don't fit each other, ExportRefused for a path that can't be written."""
    if outputs.out is None and not is_sweep:
        raise typer.BadParameter("is needed, except with --dims or --l2s", param_hint="'--out' / '-o'")
    if outputs.out is not None:
        Draft(outputs.out)
    if not is_sweep and (outputs.plot or outputs.json):
        raise typer.BadParameter("compare several runs; use them with --dims or --l2s", param_hint="'--plot' and '--json'")
    suffix = catalog.SUFFIXES[architecture]
    _check_file(outputs.save_model, (suffix,), f"{architecture} is saved as a {suffix} file", "--save-model")
    _check_file(outputs.plot, sweep_plot.SUFFIXES, "a plot is an .svg or a .png file", "--plot")
    _check_file(outputs.json, (".json",), "must end in .json", "--json")
    if outputs.plot is not None:
        sweep_plot.check_matplotlib()


def _check_file(path: Path | None, suffixes: tuple[str, ...], message: str, option: str) -> None:
    if path is None:
        return
    if path.suffix not in suffixes:
        raise typer.BadParameter(message, param_hint=option)
    if not path.parent.is_dir():
        raise ExportRefused(f"{path.parent} is no folder; make it first, or give {option} another path")
