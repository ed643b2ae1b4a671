"""A ranking loss over the catalogue, for any model that is two embedding tables and one dot product.

Of a user u and an item i that u touched, with t the temperature and s the score:

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over items j that u didn't touch of exp(s(u,j)/t)) )

It is averaged over the pairs of a batch. A batch has some users with all of their interactions, so that one row of scores
serves every pair of a user. Above `FULL_CATALOGUE` items the sum is estimated: the items that the batch's users touched are in
it as they are, and a sample of the others stands for all others, each weighted by how many items it stands for
(importance sampling; Bengio & Senécal, 2003).
"""

import torch
from torch import Tensor
from torch.nn import functional

from recoserve_export.zoo.data.dataset import InteractionPairs
from recoserve_export.zoo.training.batches import UserBatch, UserBatches
from recoserve_export.zoo.training.descent import descend
from recoserve_export.zoo.training.progress import EpochReport
from recoserve_export.zoo.training.recipe import Recipe

FULL_CATALOGUE = 20_000  # items; above it, a sample of them is scored
SAMPLE = 8_192
NEVER = -1e9  # the logit of an item that must not count; finite, so that a user who touched everything has a gradient


def fit(user_table: Tensor, item_table: Tensor, pairs: InteractionPairs, recipe: Recipe, report: EpochReport) -> None:
    """Move both tables, in place, to rank each user's items first; the same seed gives the same tables on one machine.

    Parameters `user_table` [U, d] and `item_table` [N, d], float32, on one device.
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
    """The ranking loss, and `l2` times the mean squared length of the users' and of the touched items' vectors."""
    candidates, column, log_weight = _candidates(batch, len(item_table), random)
    users = user_table[batch.users]
    items = item_table if candidates is None else item_table[candidates]
    ranking = _ranking_loss(_scores(users, items, recipe.similarity) / recipe.temperature + log_weight, batch.owner, column)
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


def _candidates(batch: UserBatch, items: int, random: torch.Generator) -> tuple[Tensor | None, Tensor, Tensor]:
    """The item rows to score (None: all of them), each pair's column among them, and the log of each candidate's weight.

    The log of a weight is added to a candidate's logit, which multiplies its exp by the weight.
    """
    device = batch.item.device
    if items <= FULL_CATALOGUE:
        return None, batch.item, torch.zeros(1, device=device)
    touched, column = torch.unique(batch.item, return_inverse=True)
    drawn = torch.unique(torch.randint(items, (SAMPLE,), generator=random).to(device))
    others = drawn[~torch.isin(drawn, touched)]
    weight = (items - len(touched)) / max(1, len(others))
    weights = torch.cat([torch.zeros(len(touched), device=device), torch.full((len(others),), weight, device=device).log()])
    return torch.cat([touched, others]), column, weights
