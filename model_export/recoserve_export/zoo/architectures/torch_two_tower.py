"""Two towers in PyTorch: each side's embedding through two dense layers of its own, then a dot product."""

from torch import Tensor, nn

from recoserve_export.zoo.architectures.torch_kit import build_seeded
from recoserve_export.zoo.architectures.widths import HIDDEN


class TwoTower(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Scores a pair by the dot product of the two towers' outputs, `dim` numbers each."""

    def __init__(self, user_count: int, item_count: int, dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(user_count, dim)
        self.item_embedding = nn.Embedding(item_count, dim)
        self.user_tower = _tower(dim, hidden)
        self.item_tower = _tower(dim, hidden)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """int64 [B] user rows and int64 [B] item rows -> float32 [B]."""
        users, items = self.user_tower(self.user_embedding(user)), self.item_tower(self.item_embedding(item))
        return (users * items).sum(dim=-1)


def _tower(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))


def build(user_count: int, item_count: int, dim: int, *, hidden: int = HIDDEN, seed: int = 0) -> TwoTower:
    """A fresh model, drawn by `seed` alone."""
    return build_seeded(lambda: TwoTower(user_count, item_count, dim, hidden), seed)
