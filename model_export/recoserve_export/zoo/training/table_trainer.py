"""A ranking loss over the catalogue, for any model that is two embedding tables and one dot product.

Of a user u and an item i that u touched, with t the temperature and s the score:

    loss(u, i) = -log( exp(s(u,i)/t) / (exp(s(u,i)/t) + Σ over items j that u didn't touch of exp(s(u,j)/t)) )

It is averaged over the pairs of a step. A step takes some users with all of their interactions, so that one row of scores
serves every pair of a user. Above `FULL_CATALOGUE` items the sum is estimated: the items that the step's users touched are in
it as they are, and a sample of the others stands for the rest, each weighted by how many items it stands for
(importance sampling; Bengio & Senécal, 2003).
"""

import torch
from torch import Tensor
from torch.nn import functional

from recoserve_export.zoo.data.dataset import Pairs
from recoserve_export.zoo.training.recipe import Recipe
from recoserve_export.zoo.training.steps import Report, Step, Steps, descend

FULL_CATALOGUE = 20_000  # items; above it, a sample of them stands for the rest
SAMPLE = 8_192
NEVER = -1e9  # the logit of an item that must not count; finite, so that a user who touched everything has a gradient


def fit(user_table: Tensor, item_table: Tensor, pairs: Pairs, recipe: Recipe, report: Report) -> None:
    """Move both tables, in place, to rank each user's items first.

    Parameters `user_table` [U, d] and `item_table` [N, d], float32, on one device. `report` gets the epoch, from 1, and its
    mean loss. Adam, its rate falling linearly to zero. The same seed gives the same tables on one machine.
    """
    steps = Steps(pairs, len(user_table), recipe, user_table.device)
    descend([user_table, item_table], steps, lambda step: _loss(user_table, item_table, step, recipe, steps.draw), recipe, report)


def _loss(user_table: Tensor, item_table: Tensor, step: Step, recipe: Recipe, draw: torch.Generator) -> Tensor:
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


def _candidates(step: Step, items: int, draw: torch.Generator) -> tuple[Tensor | None, Tensor, Tensor]:
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
