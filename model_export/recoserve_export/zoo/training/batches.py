"""Batches of training: some users at a time, each with all of their interactions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoserve_export.zoo.data.dataset import InteractionPairs
from recoserve_export.zoo.training.recipe import Recipe


@dataclass(frozen=True)
class UserBatch:
    """Some users and all of their pairs: pair p is user `users[owner[p]]` with item row `item[p]`; int64 tensors."""

    users: Tensor
    owner: Tensor
    item: Tensor


class UserBatches:
    """The users that have interactions, in batches; each iteration is an epoch, in an order of its own.

    `random` draws that order, and whatever else training draws, so that one seed fixes all of it.
    """

    def __init__(self, pairs: InteractionPairs, users: int, recipe: Recipe, device: torch.device) -> None:
        order = np.argsort(pairs.user, kind="stable")
        self._items = torch.from_numpy(pairs.item[order]).to(device)
        self._counts = torch.from_numpy(np.bincount(pairs.user, minlength=users))
        self._starts = torch.cumsum(self._counts, 0) - self._counts
        self._active = torch.nonzero(self._counts).flatten()
        self._size = recipe.batch_size
        self._device = device
        self.random = torch.Generator().manual_seed(recipe.seed)

    def __len__(self) -> int:
        return -(-len(self._active) // self._size)

    def __iter__(self) -> Iterator[UserBatch]:
        shuffled = self._active[torch.randperm(len(self._active), generator=self.random)]
        for users in shuffled.split(self._size):
            counts = self._counts[users]
            owner = torch.repeat_interleave(torch.arange(len(users)), counts)
            within = torch.arange(len(owner)) - (torch.cumsum(counts, 0) - counts)[owner]
            positions = (self._starts[users][owner] + within).to(self._device)
            yield UserBatch(users.to(self._device), owner.to(self._device), self._items[positions])
