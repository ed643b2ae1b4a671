"""Optimises parameters by gradient descent, on the loss of one batch after another."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recoserve_export.zoo.training.batches import UserBatch, UserBatches
from recoserve_export.zoo.training.progress import EpochReport
from recoserve_export.zoo.training.recipe import Recipe


def warm_up() -> None:
    """Take one optimizer step with one number: the first in a process loads much of torch, which is not to be timed as training."""
    number = torch.zeros(1, requires_grad=True)
    number.sum().backward()
    torch.optim.Adam([number]).step()


def descend(
    parameters: Sequence[Tensor],
    batches: UserBatches,
    loss_of: Callable[[UserBatch], Tensor],
    recipe: Recipe,
    report: EpochReport,
) -> None:
    """Optimise the parameters, in place, by one step of Adam for each batch; the learning rate falls linearly to zero.

    `loss_of` gives the mean loss of a batch's pairs; `report` is called after each epoch with the mean loss of all pairs.
    """
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    steps = recipe.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    for epoch in range(1, recipe.epochs + 1):
        loss_sum, pair_count = 0.0, 0
        for batch in batches:
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss.detach()) * len(batch.pair_items)
            pair_count += len(batch.pair_items)
        report(epoch, loss_sum / pair_count)
