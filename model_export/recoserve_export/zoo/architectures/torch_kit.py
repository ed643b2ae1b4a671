"""What every PyTorch model of the zoo shares: seeded making, its score before the sigmoid, its tables, its file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

INITIAL_STD = 0.3  # far enough apart that an MLP learns more than popularity
M = TypeVar("M", bound=nn.Module)


def made(make: Callable[[], M], seed: int) -> M:
    """What `make` makes, drawn by `seed` alone: embeddings from N(0, 0.3²), other layers as torch does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
        for _, table in embeddings(model):
            nn.init.normal_(table, std=INITIAL_STD)
    return model


def logits(model: nn.Module, training: bool) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The model's score before the sigmoid: int64 tensors [P] by input name -> float32 [P]; sets the model's mode."""
    model.train(training)
    score = getattr(model, "logits", model)
    return lambda rows: score(**rows)


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """All that a trainer moves."""
    return list(model.parameters())


def embeddings(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Each table, under the input that its name starts with."""
    return [(name.partition("_")[0], part.weight) for name, part in model.named_modules() if isinstance(part, nn.Embedding)]


def save(model: nn.Module, path: Path) -> None:
    """Write the state_dict."""
    torch.save(model.state_dict(), path)
