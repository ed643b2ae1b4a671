"""Exports one model twice, as a bundle and with its framework's own exporter: `python -m recoserve_bench.scorers.prepare NAME ITEMS
FOLDER`.

NAME is a key of `SCORERS`, ITEMS a number of items, FOLDER an existing folder. The benchmark runs this in a process of its own, so
that the threads of torch or Keras don't disturb the measurement.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from recoserve_bench.scorers.models import SCORERS
from recoserve_bench.scorers.tiled import features


def main() -> None:
    """Write `FOLDER/bundle` with `export_model`, and `FOLDER/model.onnx` with the framework's own exporter."""
    from recoserve_export import export_model

    scorer, item_count, folder = SCORERS[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
    model = scorer.build(item_count)
    if scorer.framework == "keras":
        model([np.zeros((2, 1), np.int64) for _ in scorer.inputs])  # Keras can export a model only after it has been called once
        model.export(str(folder / "model.onnx"), format="onnx", verbose=False)
    else:
        _export_torch(model, scorer.inputs, folder / "model.onnx")
    # Not the cosine, which a dot model gets by default: the framework's graph, for comparison, ranks by the model's own score.
    export_model(model, folder / "bundle", similarity="model", item_features=features(scorer, item_count))


def _export_torch(model: Any, inputs: tuple[str, ...], path: Path) -> None:
    import torch

    model.eval()
    # Three example rows, different ones for each input: equal examples could be taken for one tensor.
    examples = {name: torch.tensor([start, start + 1, start + 2]) for start, name in enumerate(inputs)}
    dynamic_shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    torch.onnx.export(model, (), str(path), kwargs=examples, dynamic_shapes=dynamic_shapes, dynamo=True, verbose=False)


if __name__ == "__main__":
    main()
