"""Computes the scores of a model of any shape for all items, for its evaluation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from recoserve.bundle.arrays import Float32Array, Rows
from recoserve_export.zoo.architectures.catalog import Logits

BATCH = 1 << 16  # pairs in one run of the model


def catalogue_scores(
    logits: Logits, item_count: int, features: Mapping[str, Rows], device: torch.device
) -> Callable[[Rows], Float32Array]:
    """A function from user rows int64 [B] to scores float32 [B, item_count], which runs the model on `BATCH` pairs at a time.

    `features` has, for each input beyond `user` and `item`, the row number of every item.
    """
    item_inputs = {"item": torch.arange(item_count, device=device)}
    item_inputs |= {name: torch.from_numpy(rows).to(device) for name, rows in features.items()}
    size = max(1, BATCH // item_count)

    def batch_scores(rows: Rows) -> Float32Array:
        users = torch.from_numpy(rows).to(device)
        tiled = {name: values.repeat(len(rows)) for name, values in item_inputs.items()}
        with torch.no_grad():
            scores: Float32Array = logits({"user": users.repeat_interleave(item_count), **tiled}).cpu().numpy()
        return scores.reshape(len(rows), item_count)

    return lambda rows: np.concatenate([batch_scores(rows[start : start + size]) for start in range(0, len(rows), size)])
