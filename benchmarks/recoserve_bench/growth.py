"""`recoserve bench growth`: how time grows with the number of items, ours beside the plain graph and FAISS's flat index."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recoserve_bench.errors import SystemFailed
from recoserve_bench.report import Figure, out
from recoserve_bench.retrieval import bench
from recoserve_bench.retrieval.parent import System

AGAINST = ("onnx", "faiss-flat")


def grow(sizes: Sequence[int], workload: bench.Workload, systems: Sequence[System], folder: Path, peers: Path) -> list[Figure]:
    """The figures of `workload` for each number of items."""
    figures: list[Figure] = []
    for size in sizes:
        out.print(f"{size:,} items …")
        figures += bench.compare(systems, replace(workload, items=size), folder, peers)
    return figures


def plot(figures: Sequence[Figure], path: Path) -> None:
    """Draw median milliseconds a batch over items, both logarithmic, as an SVG. Raises SystemFailed without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemFailed("the plot needs matplotlib: pip install 'recoserve[bench]', or leave --plot out") from None
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recoserve"  # the same figures give the same file
    from matplotlib import pyplot as plt

    batches = sorted({figure["batch"] for figure in figures})
    drawing, panels = plt.subplots(1, len(batches), figsize=(5 * len(batches), 4), sharey=True, squeeze=False)
    for panel, batch in zip(panels[0], batches, strict=True):
        for system in dict.fromkeys(figure["system"] for figure in figures):
            series = [figure for figure in figures if (figure["system"], figure["batch"]) == (system, batch)]
            if series:
                style = {"color": "grey", "linestyle": ":"} if system == bench.LIMIT else {"marker": "o"}
                items, medians = [figure["items"] for figure in series], [figure["median_ms"] for figure in series]
                panel.plot(items, medians, label=system, **style)
        panel.set(xscale="log", yscale="log", xlabel="items", title=f"batch of {batch}")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0][0].set_ylabel("median milliseconds a batch")
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
