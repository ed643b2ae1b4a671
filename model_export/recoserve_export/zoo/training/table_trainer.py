"""Trains a model that is two embedding tables and one dot product, by a ranking loss over all items.

For a user u and an item i that u interacted with, with s the score and t the temperature:

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over items j that u didn't interact with of exp(s(u,j)/t)) )

The loss of a batch is the mean over its pairs. A batch has some users with all of their interactions, so that a user's scores of
all items are computed once for all of their pairs. Above `FULL_CATALOGUE` items the sum is estimated: it has the items that the
batch's users interacted with, and a sample of all others, each weighted by the number of these others divided by the size of the
sample (importance sampling; Bengio & Senécal, 2003).
"""

import torch
from torch import Tensor
from torch.nn import functional

from recoserve_export.zoo.data.dataset import InteractionPairs
from recoserve_export.zoo.training.batches import UserBatch, UserBatches
from recoserve_export.zoo.training.descent import descend
from recoserve_export.zoo.training.progress import EpochReport
from recoserve_export.zoo.training.recipe import Recipe

FULL_CATALOGUE = 20_000  # items; if there are more, a sample of them is scored
SAMPLE_SIZE = 8_192
# The logit of a masked item, whose exp is then 0. Finite: for a user who interacted with every item all are masked, and a sum of
# nothing but exp(-inf) has no gradient.
MASKED_LOGIT = -1e9


def fit(user_table: Tensor, item_table: Tensor, pairs: InteractionPairs, recipe: Recipe, report: EpochReport) -> None:
    """Optimise both tables, in place, to rank each user's items first.

    `user_table` [U, d] and `item_table` [N, d] are float32 Parameters on one device. `report` is called after each epoch. The same
    `recipe.seed` gives the same tables on one machine.
    """
    batches = UserBatches(pairs, len(user_table), recipe, user_table.device)
    descend(
        [user_table, item_table],
        batches,
        lambda batch: _loss(user_table, item_table, batch, recipe, batches.random),
        recipe,
        report,
    )


def _loss(user_table: Tensor, item_table: Tensor, batch: UserBatch, recipe: Recipe, random: torch.Generator) -> Tensor:
    """The ranking loss, plus `recipe.l2` times the mean squared length of the vectors of the batch's users and of their items."""
    candidates, columns, log_weights = _candidates(batch, len(item_table), random)
    users = user_table[batch.user_rows]
    items = item_table if candidates is None else item_table[candidates]
    logits = _scores(users, items, recipe.similarity) / recipe.temperature + log_weights
    ranking_loss = _ranking_loss(logits, batch.pair_users, columns)
    if not recipe.l2:
        return ranking_loss
    positive_items = items[torch.unique(columns)]
    return ranking_loss + recipe.l2 * (users.square().sum(1).mean() + positive_items.square().sum(1).mean())


def _scores(users: Tensor, items: Tensor, similarity: str) -> Tensor:
    if similarity == "cosine":
        users, items = functional.normalize(users, dim=1), functional.normalize(items, dim=1)
    return users @ items.T


def _ranking_loss(logits: Tensor, pair_users: Tensor, columns: Tensor) -> Tensor:
    """The mean over pairs; `logits` is [users, candidates], and pair p has `logits[pair_users[p], columns[p]]`."""
    positive = torch.zeros_like(logits, dtype=torch.bool)
    positive[pair_users, columns] = True
    log_negative_sums = torch.logsumexp(logits.masked_fill(positive, MASKED_LOGIT), 1)
    positive_logits = logits[pair_users, columns]
    return (torch.logaddexp(positive_logits, log_negative_sums[pair_users]) - positive_logits).mean()


def _candidates(batch: UserBatch, item_count: int, random: torch.Generator) -> tuple[Tensor | None, Tensor, Tensor]:
    """The item rows to score (None for all of them), each pair's column among them, and the log of each candidate's weight.

    The log of the weight is added to a candidate's logit, which multiplies its exp by the weight.
    """
    device = batch.pair_items.device
    if item_count <= FULL_CATALOGUE:
        return None, batch.pair_items, torch.zeros(1, device=device)
    positive_items, columns = torch.unique(batch.pair_items, return_inverse=True)
    drawn_items = torch.unique(torch.randint(item_count, (SAMPLE_SIZE,), generator=random).to(device))
    sample = drawn_items[~torch.isin(drawn_items, positive_items)]
    weight = (item_count - len(positive_items)) / max(1, len(sample))
    log_weights = torch.cat(
        [torch.zeros(len(positive_items), device=device), torch.full((len(sample),), weight, device=device).log()]
    )
    return torch.cat([positive_items, sample]), columns, log_weights
