"""What `recoserve train` is to write: the bundle, the model's own file, and the comparison of a sweep."""

from dataclasses import dataclass
from pathlib import Path

import typer

from recoserve.bundle.draft import Draft
from recoserve.errors import ExportRefused
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.training import sweep_plot


@dataclass(frozen=True)
class Outputs:
    """The paths to write, each None where that file was not requested; `plot` and `json` belong to a sweep."""

    out: Path | None
    save_model: Path | None
    plot: Path | None
    json: Path | None


def check_outputs(outputs: Outputs, architecture: str, is_sweep: bool) -> None:
    """Refuse what can't be written before any work is done; raises BadParameter or ExportRefused."""
    if outputs.out is None and not is_sweep:
        raise typer.BadParameter("is needed, except with --dims or --l2s", param_hint="'--out' / '-o'")
    if outputs.out is not None:
        Draft(outputs.out)
    if not is_sweep and (outputs.plot or outputs.json):
        raise typer.BadParameter("compare runs, and go with --dims or --l2s", param_hint="'--plot' and '--json'")
    suffix = catalog.SUFFIXES[architecture]
    _check_file(outputs.save_model, (suffix,), f"{architecture} is saved as a {suffix} file", "--save-model")
    _check_file(outputs.plot, sweep_plot.SUFFIXES, "a plot is an .svg or a .png file", "--plot")
    _check_file(outputs.json, (".json",), "must end in .json", "--json")
    if outputs.plot is not None:
        sweep_plot.check()


def _check_file(path: Path | None, suffixes: tuple[str, ...], message: str, option: str) -> None:
    if path is None:
        return
    if path.suffix not in suffixes:
        raise typer.BadParameter(message, param_hint=option)
    if not path.parent.is_dir():
        raise ExportRefused(f"{path.parent} is no folder; make it first, or choose another for {option}")
