"""The ranking loss of `trainer.py` for a model of any shape, which must be run for every pair that it scores.

Each user of a step is scored on the items that they touched and on `NEGATIVES` others, drawn anew from the catalogue; those stand
for all that the user didn't touch, each weighted by how many items it stands for (importance sampling; Bengio & Senécal, 2003):

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over drawn items j of w · exp(s(u,j)/t)) )

s is the model's score before its sigmoid, if it ends in one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoserve.bundle.arrays import Rows
from recoserve_export.zoo.data.dataset import Pairs
from recoserve_export.zoo.training.recipe import Recipe
from recoserve_export.zoo.training.steps import Report, Step, Steps, descend

NEGATIVES = 128  # items drawn for each user of a step
NEVER = -1e9  # the logit of an item that must not count

Logits = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Trainee:
    """What training needs of a model: its score, what to move, and each embedding with the input that looks rows up in it."""

    logits: Logits
    parameters: Sequence[Tensor]
    embeddings: Sequence[tuple[str, Tensor]]


def fit(
    trainee: Trainee, counts: tuple[int, int], features: Mapping[str, Rows], pairs: Pairs, recipe: Recipe, report: Report
) -> None:
    """Move the parameters, in place, to rank each user's items first.

    `counts` are the rows of users and of items; `features` has one row number per item for each further input. `report` gets the
    epoch, from 1, and its mean loss. Adam, its rate falling linearly to zero. The same seed gives the same weights on one machine.
    """
    device = trainee.parameters[0].device
    steps, sample = Steps(pairs, counts[0], recipe, device), _Sample(pairs, counts[1], features, device)
    descend(trainee.parameters, steps, lambda step: _loss(trainee, sample, step, recipe, steps.draw), recipe, report)


class _Sample:
    """Items that a user didn't touch, and what every input takes for a pair."""

    def __init__(self, pairs: Pairs, items: int, features: Mapping[str, Rows], device: torch.device) -> None:
        self._items, self._device = items, device
        self._touched = torch.from_numpy(np.unique(pairs.user * items + pairs.item)).to(device)
        self._features = {name: torch.from_numpy(rows).to(device) for name, rows in features.items()}

    def draw(self, users: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Item rows [B, NEGATIVES], and for each the log of how many it stands for; NEVER where the user touched it."""
        drawn = torch.randint(self._items, (len(users), NEGATIVES), generator=draw).to(self._device)
        keys = users[:, None] * self._items + drawn
        place = torch.searchsorted(self._touched, keys).clamp(max=len(self._touched) - 1)
        fresh = self._touched[place] != keys
        first, last = (torch.searchsorted(self._touched, (users + more) * self._items) for more in (0, 1))
        others = self._items - (last - first)
        weight = (others / fresh.sum(1).clamp(min=1)).clamp(min=1e-9).log()
        return drawn, weight[:, None].masked_fill(~fresh, NEVER)

    def inputs(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """Rows by input name."""
        return {"user": user, "item": item, **{name: rows[item] for name, rows in self._features.items()}}


def _loss(trainee: Trainee, sample: _Sample, step: Step, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """Mean over the step's pairs, and the price of the vectors' squared length."""
    drawn, weight = sample.draw(step.users, draw)
    owner = step.users.repeat_interleave(NEGATIVES)
    inputs = sample.inputs(torch.cat([step.users[step.owner], owner]), torch.cat([step.item, drawn.flatten()]))
    chosen, others = (trainee.logits(inputs) / recipe.temperature).split([len(step.item), len(owner)])
    rest = torch.logsumexp(others.view_as(weight) + weight, 1)
    ranking = (torch.logaddexp(chosen, rest[step.owner]) - chosen).mean()
    if not recipe.l2:
        return ranking
    of_step = sample.inputs(step.users, step.item)
    lengths = [table[torch.unique(of_step[name])].square().sum(1).mean() for name, table in trainee.embeddings]
    return ranking + recipe.l2 * torch.stack(lengths).sum()
