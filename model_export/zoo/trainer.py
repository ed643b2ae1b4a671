"""A ranking loss over the catalogue, for any model that is two embedding tables and one dot product.

Of a user u and an item i that u touched, with t the temperature and s the score:

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over items j that u didn't touch of exp(s(u,j)/t)) )

It is averaged over the pairs of a step. A step takes some users with all of their interactions, so that one row of scores
serves every pair of a user. Above `FULL_CATALOGUE` items the sum is estimated: the items that the step's users touched are in
it as they are, and a sample of the others stands for the rest, each weighted by how many items it stands for
(importance sampling; Bengio & Senécal, 2003).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model_export.zoo.dataset import Pairs
from model_export.zoo.recipe import Recipe

FULL_CATALOGUE = 20_000  # items; above it, a sample of them stands for the rest
SAMPLE = 8_192
NEVER = -1e9  # the logit of an item that must not count; finite, so that a user who touched everything has a gradient

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class _Step:
    """Some users, and their pairs: `owner[p]` is a place in `users`, `item[p]` an item row."""

    users: Tensor
    owner: Tensor
    item: Tensor


def fit(user_table: Tensor, item_table: Tensor, pairs: Pairs, recipe: Recipe, report: Report) -> None:
    """Move both tables, in place, to rank each user's items first.

    Parameters `user_table` [U, d] and `item_table` [N, d], float32, on one device. `report` gets the epoch, from 1, and its
    mean loss. Adam, its rate falling linearly to zero. The same seed gives the same tables on one machine.
    """
    steps = _Steps(pairs, len(user_table), recipe, user_table.device)
    optimizer = torch.optim.Adam([user_table, item_table], lr=recipe.learning_rate)
    total = recipe.epochs * len(steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
    for epoch in range(1, recipe.epochs + 1):
        loss_sum = 0.0
        for step in steps:
            optimizer.zero_grad()
            loss = _loss(user_table, item_table, step, recipe, steps.draw)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss.detach()) * len(step.item)
        report(epoch, loss_sum / len(pairs))


class _Steps:
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

    def __iter__(self) -> Iterator[_Step]:
        shuffled = self._active[torch.randperm(len(self._active), generator=self.draw)]
        for users in shuffled.split(self._size):
            counts = self._counts[users]
            owner = torch.repeat_interleave(torch.arange(len(users)), counts)
            within = torch.arange(len(owner)) - (torch.cumsum(counts, 0) - counts)[owner]
            places = (self._starts[users][owner] + within).to(self._device)
            yield _Step(users.to(self._device), owner.to(self._device), self._items[places])


def _loss(user_table: Tensor, item_table: Tensor, step: _Step, recipe: Recipe, draw: torch.Generator) -> Tensor:
    candidates, column, weight = _candidates(step, len(item_table), draw)
    users = user_table[step.users]
    items = item_table if candidates is None else item_table[candidates]
    ranking = _ranking_loss(_scores(users, items, recipe.similarity) / recipe.temperature + weight, step.owner, column)
    if not recipe.l2:
        return ranking
    touched = items[torch.unique(column)]
    return ranking + recipe.l2 * (users.square().sum(1).mean() + touched.square().sum(1).mean())


def _scores(users: Tensor, items: Tensor, similarity: str) -> Tensor:
    if similarity == "cosine":
        users, items = functional.normalize(users, dim=1), functional.normalize(items, dim=1)
    return users @ items.T


def _ranking_loss(logits: Tensor, owner: Tensor, column: Tensor) -> Tensor:
    """Mean over pairs; `logits` [users, candidates], the pair p at `logits[owner[p], column[p]]`."""
    touched = torch.zeros_like(logits, dtype=torch.bool)
    touched[owner, column] = True
    others = torch.logsumexp(logits.masked_fill(touched, NEVER), 1)
    chosen = logits[owner, column]
    return (torch.logaddexp(chosen, others[owner]) - chosen).mean()


def _candidates(step: _Step, items: int, draw: torch.Generator) -> tuple[Tensor | None, Tensor, Tensor]:
    """The item rows to score (None: all of them), each pair's column among them, and what to add to each column's logit."""
    device = step.item.device
    if items <= FULL_CATALOGUE:
        return None, step.item, torch.zeros(1, device=device)
    touched, column = torch.unique(step.item, return_inverse=True)
    drawn = torch.unique(torch.randint(items, (SAMPLE,), generator=draw).to(device))
    others = drawn[~torch.isin(drawn, touched)]
    each = (items - len(touched)) / max(1, len(others))
    weight = torch.cat([torch.zeros(len(touched), device=device), torch.full((len(others),), each, device=device).log()])
    return torch.cat([touched, others]), column, weight
