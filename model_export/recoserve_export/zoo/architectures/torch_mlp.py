"""An MLP over the joined embeddings of user and item, and of the item's genre if there is one, in PyTorch."""

import torch
from torch import Tensor, nn

from recoserve_export.zoo.architectures.torch_kit import build_seeded
from recoserve_export.zoo.architectures.widths import HIDDEN, genre_width


class MLP(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Linear → relu → Linear → sigmoid over the vectors of user and item, of `dim` numbers each, and of `more_width` others."""

    def __init__(self, user_count: int, item_count: int, dim: int, hidden: int = HIDDEN, more_width: int = 0) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(user_count, dim)
        self.item_embedding = nn.Embedding(item_count, dim)
        self.hidden = nn.Linear(2 * dim + more_width, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """int64 [B] user rows and int64 [B] item rows -> float32 [B], between 0 and 1."""
        return torch.sigmoid(self.logits(user, item))

    def logits(self, user: Tensor, item: Tensor) -> Tensor:
        """The score before the sigmoid, float32 [B]."""
        return self._head(self.user_embedding(user), self.item_embedding(item))

    def _head(self, *vectors: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(torch.cat(vectors, dim=-1)))).squeeze(-1)


class GenreMLP(MLP):
    """An MLP over three vectors: of the user, of the item, and of its genre, which is 2/5 as wide."""

    def __init__(self, user_count: int, item_count: int, genre_count: int, dim: int, hidden: int = HIDDEN // 2) -> None:
        super().__init__(user_count, item_count, dim, hidden, more_width=genre_width(dim))
        self.genre_embedding = nn.Embedding(genre_count, genre_width(dim))

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:  # type: ignore[override]  # one input more
        """int64 [B] rows of user, item and the item's genre -> float32 [B], between 0 and 1."""
        return torch.sigmoid(self.logits(user, item, genre))

    def logits(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:  # type: ignore[override]
        """The score before the sigmoid, float32 [B]."""
        return self._head(self.user_embedding(user), self.item_embedding(item), self.genre_embedding(genre))


def build(
    user_count: int, item_count: int, dim: int, *, genre_count: int | None = None, hidden: int | None = None, seed: int = 0
) -> MLP | GenreMLP:
    """A fresh model, drawn by `seed` alone; a `GenreMLP` if `genre_count` is given.

    `hidden` is the width between the two Linears: 64, or 32 with a genre.
    """
    if genre_count is None:
        return build_seeded(lambda: MLP(user_count, item_count, dim, hidden or HIDDEN), seed)
    return build_seeded(lambda: GenreMLP(user_count, item_count, genre_count, dim, hidden or HIDDEN // 2), seed)
