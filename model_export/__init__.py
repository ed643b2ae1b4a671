"""Trained models to bundles; `export_model` is the one public function."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_export.publish import Report

__all__ = ["export_model"]


def export_model(
    model: Any,
    out: str | Path,
    *,
    similarity: str | None = None,
    user_input: str | None = None,
    item_input: str | None = None,
    user_ids: Any = None,
    item_ids: Any = None,
    items: Any = None,
    interactions: Any = None,
    name: str | None = None,
    version: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    source_file: str | Path | None = None,
    architecture: str | None = None,
) -> "Report":
    """Export a trained model as a bundle in the folder `out`, after a parity check in a process of its own.

    `model` is a live keras.Model or torch.nn.Module, a path, or a pair of arrays (users float [U, d], items float [N, d]).
    `similarity` is cosine (default), dot or model. `user_ids` and `item_ids` are a path, a list or an array, one id per row;
    `items` a CSV path or a list of dicts in row order; `interactions` a CSV path or a pair (user rows, item rows).
    `source_file` is the file a live model came from; `architecture` package.module:callable, that builds a state_dict's module.
    Raises ExportRefused, and writes nothing, where the model is not a dot model or anything fails a check.
    """
    arguments = locals()
    from model_export import publish  # here, so that importing the package costs next to nothing

    return publish.export_model(**arguments)
