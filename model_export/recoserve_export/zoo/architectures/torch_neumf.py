"""NeuMF in PyTorch (He et al., 2017): a weighted dot product and an MLP, each over embeddings of its own, in one last layer."""

import torch
from torch import Tensor, nn

from recoserve_export.zoo.architectures.torch_kit import build_seeded
from recoserve_export.zoo.architectures.widths import HIDDEN


class NeuMF(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Linear over (user · item elementwise, two dense layers over both), then a sigmoid."""

    def __init__(self, user_count: int, item_count: int, dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.user_gmf = nn.Embedding(user_count, dim)
        self.item_gmf = nn.Embedding(item_count, dim)
        self.user_mlp = nn.Embedding(user_count, dim)
        self.item_mlp = nn.Embedding(item_count, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden // 2), nn.ReLU())
        self.output = nn.Linear(dim + hidden // 2, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """int64 [B] user rows and int64 [B] item rows -> float32 [B], between 0 and 1."""
        return torch.sigmoid(self.logits(user, item))

    def logits(self, user: Tensor, item: Tensor) -> Tensor:
        """The score before the sigmoid, float32 [B]."""
        product = self.user_gmf(user) * self.item_gmf(item)
        deep = self.mlp(torch.cat([self.user_mlp(user), self.item_mlp(item)], dim=-1))
        return self.output(torch.cat([product, deep], dim=-1)).squeeze(-1)


def build(user_count: int, item_count: int, dim: int, *, hidden: int = HIDDEN, seed: int = 0) -> NeuMF:
    """A fresh model, drawn by `seed` alone."""
    return build_seeded(lambda: NeuMF(user_count, item_count, dim, hidden), seed)
