"""Trains a pair scorer of any architecture by the ranking loss of `table_trainer.py`, against a sample of items instead of all.

Unlike two tables, such a model has to be run for every pair that it scores. So each user of a batch is scored on the items that
they interacted with, and on `NEGATIVES` items that are drawn from all items, with replacement and anew for each batch. Drawn items
that the user interacted with are masked. Each of the others has the weight

    w = (items that the user didn't interact with) / (drawn items that are not masked)

so that their weighted sum of exp(s/t) estimates that sum over all items that the user didn't interact with (importance sampling;
Bengio & Senécal, 2003). For a user u and an item i that u interacted with:

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over drawn, unmasked items j of w · exp(s(u,j)/t)) )

s is the model's score before its sigmoid, if it ends in one, and t the temperature. The loss of a batch is the mean over its pairs.
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
# The log of a masked item's weight, which makes its exp 0. Finite: for a user who interacted with every item all are masked, and a
# sum of nothing but exp(-inf) has no gradient.
MASKED_LOG_WEIGHT = -1e9


@dataclass(frozen=True)
class Trainee:
    """A model to train.

    `logits` gives its score before the sigmoid, `parameters` are the Parameters to optimise, and `embeddings` has the table of each
    embedding with the name of the input that indexes its rows.
    """

    logits: Logits
    parameters: Sequence[Tensor]
    embeddings: Sequence[tuple[str, Tensor]]


def fit(
    trainee: Trainee,
    pairs: InteractionPairs,
    features: Mapping[str, Rows],
    recipe: Recipe,
    report: EpochReport,
    *,
    user_count: int,
    item_count: int,
) -> None:
    """Optimise the parameters, in place, to rank each user's items first.

    `features` maps the name of each further input to an array, int64 [item_count]: for every item, its row in that input's table.
    `report` is called after each epoch. The same `recipe.seed` gives the same parameters on one machine.
    """
    device = trainee.parameters[0].device
    batches, sampler = UserBatches(pairs, user_count, recipe, device), _NegativeSampler(pairs, item_count, device)
    item_features = {name: torch.from_numpy(rows).to(device) for name, rows in features.items()}
    descend(
        trainee.parameters,
        batches,
        lambda batch: _loss(trainee, item_features, batch, recipe, *sampler.draw(batch.user_rows, batches.random)),
        recipe,
        report,
    )


class _NegativeSampler:
    """Draws items for users, and weighs those that the user didn't interact with."""

    def __init__(self, pairs: InteractionPairs, item_count: int, device: torch.device) -> None:
        self._item_count, self._device = item_count, device
        # Each pair as one number, ascending: whether a drawn pair is among them is then one binary search.
        self._pair_keys = torch.from_numpy(np.unique(pairs.user * item_count + pairs.item)).to(device)

    def draw(self, user_rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """For users int64 [B]: drawn item rows, int64 [B, NEGATIVES], and the logs of their weights, float32 of the same shape.

        The log is `MASKED_LOG_WEIGHT` for an item that the user interacted with.
        """
        items = torch.randint(self._item_count, (len(user_rows), NEGATIVES), generator=random).to(self._device)
        keys = user_rows[:, None] * self._item_count + items
        # For a key above all others `searchsorted` returns the position after the last one, which is no index.
        positions = torch.searchsorted(self._pair_keys, keys).clamp(max=len(self._pair_keys) - 1)
        unmasked = self._pair_keys[positions] != keys
        start, stop = (torch.searchsorted(self._pair_keys, (user_rows + offset) * self._item_count) for offset in (0, 1))
        negative_counts = self._item_count - (stop - start)
        # Clamped for users all of whose drawn items are masked: their weights are not used, but mustn't divide by 0 or be log(0).
        log_weights = (negative_counts / unmasked.sum(1).clamp(min=1)).clamp(min=1e-9).log()
        return items, log_weights[:, None].masked_fill(~unmasked, MASKED_LOG_WEIGHT)


def _inputs(users: Tensor, items: Tensor, item_features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows of users, of items and of the items' features, by the names of the model's inputs."""
    return {"user": users, "item": items, **{name: rows[items] for name, rows in item_features.items()}}


def _loss(
    trainee: Trainee,
    item_features: Mapping[str, Tensor],
    batch: UserBatch,
    recipe: Recipe,
    negative_items: Tensor,
    log_weights: Tensor,
) -> Tensor:
    """The ranking loss, plus `recipe.l2` times the sum, over the embeddings, of the mean squared length of the vectors in use.

    These are the distinct vectors of the batch's users, of the items that they interacted with, and of those items' features;
    those of drawn items don't count. `negative_items` and `log_weights` [B, NEGATIVES] are drawn for the users of the batch.
    """
    positive_users, negative_users = batch.user_rows[batch.pair_users], batch.user_rows.repeat_interleave(NEGATIVES)
    users, items = torch.cat([positive_users, negative_users]), torch.cat([batch.pair_items, negative_items.flatten()])
    logits = trainee.logits(_inputs(users, items, item_features)) / recipe.temperature
    positive_logits, negative_logits = logits.split([len(positive_users), len(negative_users)])
    log_negative_sums = torch.logsumexp(negative_logits.view_as(log_weights) + log_weights, 1)
    ranking_loss = (torch.logaddexp(positive_logits, log_negative_sums[batch.pair_users]) - positive_logits).mean()
    if not recipe.l2:
        return ranking_loss
    positive_inputs = _inputs(batch.user_rows, batch.pair_items, item_features)
    squared_lengths = [table[torch.unique(positive_inputs[name])].square().sum(1).mean() for name, table in trainee.embeddings]
    return ranking_loss + recipe.l2 * torch.stack(squared_lengths).sum()
