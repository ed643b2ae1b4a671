"""The ranking loss of `table_trainer.py` for a model of any shape, which must be run for every pair that it scores.

Each user of a batch is scored on the items that they touched and on `NEGATIVES` others, drawn anew from the catalogue; those stand
for all that the user didn't touch, each weighted by how many items it stands for (importance sampling; Bengio & Senécal, 2003):

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over drawn items j of w · exp(s(u,j)/t)) )

s is the model's score before its sigmoid, if it ends in one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoserve.bundle.arrays import Rows
from recoserve_export.zoo.architectures.catalog import Logits
from recoserve_export.zoo.data.dataset import InteractionPairs
from recoserve_export.zoo.training.batches import UserBatch, UserBatches
from recoserve_export.zoo.training.descent import descend
from recoserve_export.zoo.training.progress import EpochReport
from recoserve_export.zoo.training.recipe import Recipe

NEGATIVES = 128  # items drawn for each user of a batch
NEVER = -1e9  # the logit of an item that must not count; finite, so that a user who touched everything has a gradient


@dataclass(frozen=True)
class Trainee:
    """What training needs of a model: its score, the parameters to move, and each embedding with the input that indexes it."""

    logits: Logits
    parameters: Sequence[Tensor]
    embeddings: Sequence[tuple[str, Tensor]]


def fit(
    trainee: Trainee,
    counts: tuple[int, int],
    features: Mapping[str, Rows],
    pairs: InteractionPairs,
    recipe: Recipe,
    report: EpochReport,
) -> None:
    """Move the parameters, in place, to rank each user's items first; the same seed gives the same weights on one machine.

    `counts` are the rows of users and of items; `features` has one row number per item for each further input.
    """
    device = trainee.parameters[0].device
    batches, negatives = UserBatches(pairs, counts[0], recipe, device), _Negatives(pairs, counts[1], features, device)
    descend(trainee.parameters, batches, lambda batch: _loss(trainee, negatives, batch, recipe, batches.random), recipe, report)


class _Negatives:
    """Items that a user didn't touch, and the inputs of the model for pairs."""

    def __init__(self, pairs: InteractionPairs, items: int, features: Mapping[str, Rows], device: torch.device) -> None:
        self._items, self._device = items, device
        # Each touched pair as one number, ascending: whether a drawn pair is among them is then one binary search.
        self._touched = torch.from_numpy(np.unique(pairs.user * items + pairs.item)).to(device)
        self._features = {name: torch.from_numpy(rows).to(device) for name, rows in features.items()}

    def draw(self, users: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Item rows [B, NEGATIVES], and for each the log of how many it stands for; NEVER where the user touched it."""
        drawn = torch.randint(self._items, (len(users), NEGATIVES), generator=random).to(self._device)
        keys = users[:, None] * self._items + drawn
        positions = torch.searchsorted(self._touched, keys).clamp(max=len(self._touched) - 1)
        untouched = self._touched[positions] != keys
        first, last = (torch.searchsorted(self._touched, (users + offset) * self._items) for offset in (0, 1))
        others = self._items - (last - first)
        log_weight = (others / untouched.sum(1).clamp(min=1)).clamp(min=1e-9).log()
        return drawn, log_weight[:, None].masked_fill(~untouched, NEVER)

    def inputs(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """The rows of pairs by input name, the features of their items among them."""
        return {"user": user, "item": item, **{name: rows[item] for name, rows in self._features.items()}}


def _loss(trainee: Trainee, negatives: _Negatives, batch: UserBatch, recipe: Recipe, random: torch.Generator) -> Tensor:
    """The ranking loss, and `l2` times the mean squared length of the vectors that the batch touches in each embedding."""
    drawn, log_weight = negatives.draw(batch.users, random)
    owner = batch.users.repeat_interleave(NEGATIVES)
    inputs = negatives.inputs(torch.cat([batch.users[batch.owner], owner]), torch.cat([batch.item, drawn.flatten()]))
    chosen, others = (trainee.logits(inputs) / recipe.temperature).split([len(batch.item), len(owner)])
    others_sum = torch.logsumexp(others.view_as(log_weight) + log_weight, 1)
    ranking = (torch.logaddexp(chosen, others_sum[batch.owner]) - chosen).mean()
    if not recipe.l2:
        return ranking
    touched = negatives.inputs(batch.users, batch.item)
    lengths = [table[torch.unique(touched[name])].square().sum(1).mean() for name, table in trainee.embeddings]
    return ranking + recipe.l2 * torch.stack(lengths).sum()
