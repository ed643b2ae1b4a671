"""One model as a bundle and as the framework's own ONNX file: `python -m recoserve_bench.scorers.prepare NAME ITEMS FOLDER`.

A process of its own, so that no framework's threads run beside what is measured.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from recoserve_bench.scorers.models import SCORERS
from recoserve_bench.scorers.tiled import features


def main() -> None:
    """Write `FOLDER/bundle`, and `FOLDER/model.onnx` as the framework's own exporter has it."""
    from recoserve_export import export_model

    scorer, items, folder = SCORERS[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
    model = scorer.build(items)
    if scorer.framework == "keras":
        model([np.zeros((2, 1), np.int64) for _ in scorer.inputs])  # Keras exports no model that was never called
        model.export(str(folder / "model.onnx"), format="onnx", verbose=False)
    else:
        _export_torch(model, scorer.inputs, folder / "model.onnx")
    # The model's own score even of a dot product, since the tiled graph ranks by that as well.
    export_model(model, folder / "bundle", similarity="model", item_features=features(scorer, items))


def _export_torch(model: Any, inputs: tuple[str, ...], path: Path) -> None:
    import torch

    model.eval()
    examples = {name: torch.tensor([row, row + 1, row + 2]) for row, name in enumerate(inputs)}
    shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    torch.onnx.export(model, (), str(path), kwargs=examples, dynamic_shapes=shapes, dynamo=True, verbose=False)


if __name__ == "__main__":
    main()
