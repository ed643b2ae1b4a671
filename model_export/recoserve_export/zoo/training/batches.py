"""The batches that a model is trained on: some users at a time, each with all of their interactions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoserve_export.zoo.data.dataset import InteractionPairs
from recoserve_export.zoo.training.recipe import Recipe


@dataclass(frozen=True)
class UserBatch:
    """Some users and all of their pairs, in int64 tensors.

    `user_rows` [B] are the users; for each pair `pair_users` [P] has its user's position among them, `pair_items` [P] its item row.
    Pair p is the user `user_rows[pair_users[p]]` with the item `pair_items[p]`.
    """

    user_rows: Tensor
    pair_users: Tensor
    pair_items: Tensor


class UserBatches:
    """The users that have interactions, in batches of `recipe.batch_size` users; each iteration has a new random order.

    `random`, seeded by `recipe.seed`, draws that order and everything else that training draws, so that one seed fixes all of it.
    """

    def __init__(self, pairs: InteractionPairs, user_count: int, recipe: Recipe, device: torch.device) -> None:
        order = np.argsort(pairs.user, kind="stable")
        self._items = torch.from_numpy(pairs.item[order]).to(device)
        self._counts = torch.from_numpy(np.bincount(pairs.user, minlength=user_count))
        self._starts = torch.cumsum(self._counts, 0) - self._counts
        self._active_users = torch.nonzero(self._counts).flatten()
        self._size = recipe.batch_size
        self._device = device
        self.random = torch.Generator().manual_seed(recipe.seed)

    def __len__(self) -> int:
        return -(-len(self._active_users) // self._size)

    def __iter__(self) -> Iterator[UserBatch]:
        shuffled = self._active_users[torch.randperm(len(self._active_users), generator=self.random)]
        for user_rows in shuffled.split(self._size):
            counts = self._counts[user_rows]
            pair_users = torch.repeat_interleave(torch.arange(len(user_rows)), counts)
            # Each pair's number among the pairs of its user, from 0.
            offsets = torch.arange(len(pair_users)) - (torch.cumsum(counts, 0) - counts)[pair_users]
            positions = (self._starts[user_rows][pair_users] + offsets).to(self._device)
            yield UserBatch(user_rows.to(self._device), pair_users.to(self._device), self._items[positions])
