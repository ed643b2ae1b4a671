"""The models that are measured, rows of the list in the docs' export page: untrained, since their numbers change no time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

USERS, GENRES = 1000, 20


@dataclass(frozen=True)
class Scorer:
    """`build` makes a PyTorch module for so many items; `inputs` are the names of its parameters."""

    name: str
    build: Callable[[int], Any]
    genre: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """User, item, and the genre where there is one."""
        return ("user", "item", "genre") if self.genre else ("user", "item")


def scorers() -> Mapping[str, Scorer]:
    """By letter; torch is imported only now."""
    from model_export.zoo import torch_dot, torch_mlp

    found = [
        Scorer("a", lambda items: _behind_sigmoid(torch_dot.build(USERS, items, 64, normalize=False))),
        Scorer("b", lambda items: torch_mlp.build(USERS, items, 64)),
        Scorer("c", lambda items: torch_mlp.build(USERS, items, 64, genres=GENRES, hidden=64), genre=True),
        Scorer("d", lambda items: torch_mlp.build(USERS, items, 3, genres=GENRES), genre=True),
        Scorer("d-wide", lambda items: torch_mlp.build(USERS, items, 50, genres=GENRES), genre=True),
    ]
    return {one.name: one for one in found}


def _behind_sigmoid(dot: Any) -> Any:
    import torch

    class Squashed(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.dot = dot

        def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.dot(user, item))

    return Squashed()
