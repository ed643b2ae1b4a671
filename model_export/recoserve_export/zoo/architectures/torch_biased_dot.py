"""A dot product with a bias for each user and each item, in PyTorch."""

from torch import Tensor, nn

from recoserve_export.zoo.architectures.torch_kit import build_seeded


class BiasedDot(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Scores a pair by the dot product of its vectors and the biases of both."""

    def __init__(self, user_count: int, item_count: int, dim: int) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(user_count, dim)
        self.item_embedding = nn.Embedding(item_count, dim)
        self.user_bias = nn.Embedding(user_count, 1)
        self.item_bias = nn.Embedding(item_count, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """int64 [B] user rows and int64 [B] item rows -> float32 [B]."""
        product = (self.user_embedding(user) * self.item_embedding(item)).sum(dim=-1)
        return product + self.user_bias(user).squeeze(-1) + self.item_bias(item).squeeze(-1)


def build(user_count: int, item_count: int, dim: int, *, seed: int = 0) -> BiasedDot:
    """A fresh model, drawn by `seed` alone."""
    return build_seeded(lambda: BiasedDot(user_count, item_count, dim), seed)
