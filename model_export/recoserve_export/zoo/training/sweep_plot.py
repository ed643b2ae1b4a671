"""Draws a sweep: how well each dimension predicts, and what it costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recoserve.errors import ExportRefused
from recoserve_export.zoo.training.run import TrainedModel
from recoserve_export.zoo.training.sweep import Sweep

SUFFIXES = (".svg", ".png")
# Okabe & Ito, 2008: distinct to the colour-blind.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "osD^vP"


def check_matplotlib() -> None:
    """Raise ExportRefused if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ExportRefused("the plot needs matplotlib: pip install 'recoserve[train]', or leave --plot out") from None


def write(sweep: Sweep, path: Path) -> None:
    """Draw recall, NDCG, seconds and bytes over the dimension, a line for each regularisation, to an .svg or .png file."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "recoserve"  # the same figures give the same file
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, layout="constrained")
    (recall, ndcg), (seconds, weights) = panels
    k, baseline = sweep.best.metrics.k, sweep.best.popularity
    _draw(recall, sweep, f"recall@{k}", lambda run: run.metrics.recall)
    _draw(ndcg, sweep, f"NDCG@{k}", lambda run: run.metrics.ndcg)
    _draw(seconds, sweep, "training, seconds", lambda run: run.seconds)
    _draw(weights, sweep, "weights, MB", lambda run: run.bytes / 1e6)
    for panel, value in ((recall, baseline.recall), (ndcg, baseline.ndcg)):
        panel.axhline(value, color="#555555", linestyle=":", label="popularity")
        _mark_rules(panel, sweep)
    for panel in panels.flat:
        panel.set_ylim(0, None)
    for panel in (seconds, weights):
        panel.set_xlabel("dimension")
    handles, labels = recall.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{sweep.architecture}: what a dimension buys, and what it costs")
    figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _draw(panel: Any, sweep: Sweep, title: str, figure_of: Callable[[TrainedModel], float]) -> None:
    """Draw one line for each regularisation: `figure_of` each run over its dimension."""
    weights = list(dict.fromkeys(run.recipe.l2 for run in sweep.runs))
    for line, l2 in enumerate(weights):
        runs = sorted((run for run in sweep.runs if run.recipe.l2 == l2), key=lambda run: run.recipe.dim)
        style = {"color": COLOURS[line % len(COLOURS)], "marker": MARKERS[line % len(MARKERS)]}
        panel.plot([run.recipe.dim for run in runs], [figure_of(run) for run in runs], label=f"l2 = {l2:g}", **style)
    dims = sorted({run.recipe.dim for run in sweep.runs})
    panel.set_xscale("log", base=2)
    panel.set_xticks(dims, [str(dim) for dim in dims])
    panel.minorticks_off()
    panel.set_ylabel(title)
    panel.grid(alpha=0.3)


def _mark_rules(panel: Any, sweep: Sweep) -> None:
    """Draw a vertical line at each dimension within the plot that a rule of thumb advises."""
    rules_by_dim: dict[int, list[str]] = {}
    for side, advice in sweep.advice.items():
        for rule, dim in advice.items():
            rules_by_dim.setdefault(dim, []).append(f"{rule} = {dim}, {side}")
    low, high = panel.get_xlim()
    for dim, rules in rules_by_dim.items():
        if low <= dim <= high:
            panel.axvline(dim, color="#999999", linestyle="--", linewidth=1)
            panel.annotate(
                "\n".join(rules), (dim, 0.03), xycoords=("data", "axes fraction"), rotation=90, ha="right", va="bottom", fontsize=7
            )
