"""What the PyTorch architectures share: building by a seed, and what `catalog.Kit` does with any PyTorch model."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from recoserve_export.zoo.architectures.catalog import Logits

INITIAL_STD = 0.3  # spreads the vectors so far apart that an MLP learns more than popularity
M = TypeVar("M", bound=nn.Module)


def build_seeded(build: Callable[[], M], seed: int) -> M:
    """The model that `build` returns; `seed` alone draws its embeddings from N(0, 0.3²), and its other layers as torch does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for _, table in embeddings(model):
            nn.init.normal_(table, std=INITIAL_STD)
    return model


def logits(model: nn.Module, training: bool) -> Logits:
    """A function that gives the score before the sigmoid; sets the model's mode to `training`."""
    model.train(training)
    score = getattr(model, "logits", model)
    return lambda rows: score(**rows)


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """The Parameters to train: all of them."""
    return list(model.parameters())


def embeddings(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """For each embedding, the name of its input, with which the embedding's own name starts, and its Parameter."""
    modules = model.named_modules()
    return [(name.partition("_")[0], module.weight) for name, module in modules if isinstance(module, nn.Embedding)]


def save(model: nn.Module, path: Path) -> None:
    """Write the model's state_dict."""
    torch.save(model.state_dict(), path)
