"""Training in steps: some users with all of their interactions at a time, and what follows their loss down."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoserve_export.zoo.data.dataset import Pairs
from recoserve_export.zoo.training.recipe import Recipe

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class Step:
    """Some users, and their pairs: `owner[p]` is a place in `users`, `item[p]` an item row."""

    users: Tensor
    owner: Tensor
    item: Tensor


class Steps:
    """The users that have interactions, in a new order every time round, cut into steps."""

    def __init__(self, pairs: Pairs, users: int, recipe: Recipe, device: torch.device) -> None:
        order = np.argsort(pairs.user, kind="stable")
        self._items = torch.from_numpy(pairs.item[order]).to(device)
        self._counts = torch.from_numpy(np.bincount(pairs.user, minlength=users))
        self._starts = torch.cumsum(self._counts, 0) - self._counts
        self._active = torch.nonzero(self._counts).flatten()
        self._size = recipe.batch_size
        self._device = device
        self.draw = torch.Generator().manual_seed(recipe.seed)

    def __len__(self) -> int:
        return -(-len(self._active) // self._size)

    def __iter__(self) -> Iterator[Step]:
        shuffled = self._active[torch.randperm(len(self._active), generator=self.draw)]
        for users in shuffled.split(self._size):
            counts = self._counts[users]
            owner = torch.repeat_interleave(torch.arange(len(users)), counts)
            within = torch.arange(len(owner)) - (torch.cumsum(counts, 0) - counts)[owner]
            places = (self._starts[users][owner] + within).to(self._device)
            yield Step(users.to(self._device), owner.to(self._device), self._items[places])


def warm_up() -> None:
    """Take one step with one number: an optimizer's first loads much of torch, which is no part of a training's time."""
    number = torch.zeros(1, requires_grad=True)
    number.sum().backward()
    torch.optim.Adam([number]).step()


def descend(parameters: Sequence[Tensor], steps: Steps, loss_of: Callable[[Step], Tensor], recipe: Recipe, report: Report) -> None:
    """Move the parameters, in place, down the loss of each step: Adam, its rate falling linearly to zero.

    `loss_of` is a mean over the step's pairs. `report` gets the epoch, from 1, and its mean loss.
    """
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    total = recipe.epochs * len(steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
    for epoch in range(1, recipe.epochs + 1):
        loss_sum, pairs = 0.0, 0
        for step in steps:
            optimizer.zero_grad()
            loss = loss_of(step)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum, pairs = loss_sum + float(loss.detach()) * len(step.item), pairs + len(step.item)
        report(epoch, loss_sum / pairs)
