"""A sweep as a table, with what the rules of thumb would have advised."""

from rich.console import Group
from rich.table import Table

from recoserve_export.zoo.training.sweep import Sweep


def table(sweep: Sweep) -> Group:
    """A row for each run, the best by NDCG marked, and the rules of thumb below."""
    k = sweep.best.metrics.k
    shown = Table("dim", "l2", "seconds", "bytes", f"recall@{k}", f"NDCG@{k}", "", title=sweep.architecture)
    for column in shown.columns[:-1]:
        column.justify = "right"
    for run in sweep.runs:
        best = run.recipe == sweep.best.recipe
        own = f"{run.recipe.dim}", f"{run.recipe.l2:g}", f"{run.seconds:.1f}", f"{run.bytes:,}"
        shown.add_row(*own, f"{run.metrics.recall:.4f}", f"{run.metrics.ndcg:.4f}", "best" if best else "")
    baseline = sweep.best.popularity
    shown.add_section()
    shown.add_row("popularity", "", "", "", f"{baseline.recall:.4f}", f"{baseline.ndcg:.4f}", "")
    return Group(shown, *(_rule(sweep, side) for side in sweep.advice))


def _rule(sweep: Sweep, side: str) -> str:
    n = {"users": len(sweep.dataset.user_ids), "items": len(sweep.dataset.item_ids)}[side]
    said = ", ".join(f"{rule} = {dim}" for rule, dim in sweep.advice[side].items())
    return f"rules of thumb for n = {n:,} {side}: {said}"
