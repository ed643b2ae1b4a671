"""Both forms of one model: `python -m recoserve_bench.scorers.prepare NAME ITEMS FOLDER`.

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
        _torch(model, scorer.inputs, folder / "model.onnx")
    # The model's own score also where it is a dot product: both forms answer the same question.
    export_model(model, folder / "bundle", similarity="model", item_features=features(scorer, items))


def _torch(model: Any, inputs: tuple[str, ...], to: Path) -> None:
    import torch

    model.eval()
    examples = {name: torch.tensor([place, place + 1, place + 2]) for place, name in enumerate(inputs)}
    rows = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    torch.onnx.export(model, (), str(to), kwargs=examples, dynamic_shapes=rows, dynamo=True, verbose=False)


if __name__ == "__main__":
    main()
