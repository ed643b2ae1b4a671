"""Shows a sweep as a table, and below it the dimensions that rules of thumb advise."""

from rich.console import Group
from rich.table import Table

from recoserve_export.zoo.training.sweep import Sweep


def table(sweep: Sweep) -> Group:
    """A row for each run, the best by NDCG marked; then the popularity baseline and the rules of thumb."""
    k = sweep.best.metrics.k
    rows = Table("dim", "l2", "seconds", "bytes", f"recall@{k}", f"NDCG@{k}", "", title=sweep.architecture)
    for column in rows.columns[:-1]:
        column.justify = "right"
    for run in sweep.runs:
        costs = f"{run.recipe.dim}", f"{run.recipe.l2:g}", f"{run.seconds:.1f}", f"{run.bytes:,}"
        mark = "best" if run.recipe == sweep.best.recipe else ""
        rows.add_row(*costs, f"{run.metrics.recall:.4f}", f"{run.metrics.ndcg:.4f}", mark)
    baseline = sweep.best.popularity
    rows.add_section()
    rows.add_row("popularity", "", "", "", f"{baseline.recall:.4f}", f"{baseline.ndcg:.4f}", "")
    return Group(rows, *(_advice(sweep, side) for side in sweep.advice))


def _advice(sweep: Sweep, side: str) -> str:
    """The line of one side, "users" or "items"."""
    n = {"users": len(sweep.dataset.user_ids), "items": len(sweep.dataset.item_ids)}[side]
    dimensions = ", ".join(f"{rule} = {dim}" for rule, dim in sweep.advice[side].items())
    return f"rules of thumb for n = {n:,} {side}: {dimensions}"
