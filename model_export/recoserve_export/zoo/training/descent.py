"""Gradient descent: parameters moved down the loss of batch after batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recoserve_export.zoo.training.batches import UserBatch, UserBatches
from recoserve_export.zoo.training.progress import EpochReport
from recoserve_export.zoo.training.recipe import Recipe


def warm_up() -> None:
    """Take one step with one number: an optimizer's first loads much of torch, which is not to be timed as training."""
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
    """Move the parameters, in place, down the loss of each batch: Adam, its learning rate falling linearly to zero.

    `loss_of` is a mean over the batch's pairs.
    """
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    steps = recipe.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    for epoch in range(1, recipe.epochs + 1):
        loss_sum, pairs = 0.0, 0
        for batch in batches:
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum, pairs = loss_sum + float(loss.detach()) * len(batch.item), pairs + len(batch.item)
        report(epoch, loss_sum / pairs)
