"""The reference dot model in PyTorch: two embeddings and the cosine between them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_STD = 0.1


class DotModel(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Scores (user row, item row) pairs: the dot product of their vectors, of unit length where `normalize` is set."""

    def __init__(self, user_count: int, item_count: int, dim: int, normalize: bool = True) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(user_count, dim)
        self.item_embedding = nn.Embedding(item_count, dim)
        self.normalize = normalize

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """int64 [B] user rows and int64 [B] item rows -> float32 [B]."""
        users, items = self.user_embedding(user), self.item_embedding(item)
        if self.normalize:
            users, items = functional.normalize(users, dim=-1), functional.normalize(items, dim=-1)
        return (users * items).sum(dim=-1)


def build(user_count: int, item_count: int, dim: int, *, normalize: bool = True, seed: int = 0) -> DotModel:
    """A fresh model whose weights are drawn from N(0, 0.1²) by `seed` alone."""
    model = DotModel(user_count, item_count, dim, normalize)
    random = torch.Generator().manual_seed(seed)
    for table in tables(model):
        nn.init.normal_(table, std=INITIAL_STD, generator=random)
    return model


def tables(model: DotModel) -> tuple[nn.Parameter, nn.Parameter]:
    """The Parameters [U, dim] and [N, dim] that a trainer optimises."""
    return model.user_embedding.weight, model.item_embedding.weight
