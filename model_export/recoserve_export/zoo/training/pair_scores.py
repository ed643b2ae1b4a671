"""The scores of a pairwise model over the whole catalogue, for its evaluation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from recoserve.bundle.arrays import Float32Array, Rows

BATCH = 1 << 16  # pairs in one run of the model


def catalogue_scores(
    logits: Callable[[Mapping[str, Tensor]], Tensor], items: int, features: Mapping[str, Rows], device: torch.device
) -> Callable[[Rows], Float32Array]:
    """A function from user rows int64 [B] to scores float32 [B, items], by running the model on every pair, `BATCH` at a time.

    `features` has one row number per item for each input beyond `user` and `item`.
    """
    of_item = {"item": torch.arange(items, device=device)}
    of_item |= {name: torch.from_numpy(rows).to(device) for name, rows in features.items()}
    step = max(1, BATCH // items)

    def part(rows: Rows) -> Float32Array:
        users = torch.from_numpy(rows).to(device)
        tiled = {name: values.repeat(len(rows)) for name, values in of_item.items()}
        with torch.no_grad():
            scores: Float32Array = logits({"user": users.repeat_interleave(items), **tiled}).cpu().numpy()
        return scores.reshape(len(rows), items)

    return lambda rows: np.concatenate([part(rows[start : start + step]) for start in range(0, len(rows), step)])
