"""`recoserve bench growth`: how time grows with the catalogue, ours beside the plain graph and FAISS's flat index."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recoserve_bench.errors import SystemFailed
from recoserve_bench.figures import Figure, out
from recoserve_bench.retrieval import bench
from recoserve_bench.retrieval.parent import System

AGAINST = ("onnx", "faiss-flat")


def grow(sizes: Sequence[int], workload: bench.Workload, systems: Sequence[System], folder: Path, peers: Path) -> list[Figure]:
    """`workload` for each size of the catalogue."""
    found: list[Figure] = []
    for size in sizes:
        out.print(f"{size:,} items …")
        found += bench.compare(systems, replace(workload, items=size), folder, peers)
    return found


def plot(found: Sequence[Figure], to: Path) -> None:
    """Median milliseconds a batch over items, both logarithmic, as an SVG. Raises SystemFailed without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemFailed("the plot needs matplotlib: pip install 'recoserve[bench]', or leave --plot out") from None
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recoserve"  # the same figures give the same file
    from matplotlib import pyplot as plt

    batches = sorted({one["batch"] for one in found})
    figure, panels = plt.subplots(1, len(batches), figsize=(5 * len(batches), 4), sharey=True, squeeze=False)
    for panel, batch in zip(panels[0], batches, strict=True):
        for system in dict.fromkeys(one["system"] for one in found):
            places = [(one["items"], one["median_ms"]) for one in found if (one["system"], one["batch"]) == (system, batch)]
            if places:
                limit = {"color": "grey", "linestyle": ":"} if system == bench.LIMIT else {"marker": "o"}
                panel.plot(*zip(*places, strict=True), label=system, **limit)
        panel.set(xscale="log", yscale="log", xlabel="items", title=f"batch of {batch}")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0][0].set_ylabel("median milliseconds a batch")
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})
