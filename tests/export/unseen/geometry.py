"""PyTorch: distances and angles."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.unseen.case import Cases
from tests.export.unseen.factorising import Tables

CASES = Cases()


@CASES.add()
class SquaredDistance(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return -((self.user_vector(user) - self.item_vector(item)) ** 2).sum(-1)


@CASES.add()
class Distance(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return -torch.norm(self.user_vector(user) - self.item_vector(item), dim=-1)


@CASES.add()
class CityBlock(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return -functional.pairwise_distance(self.user_vector(user), self.item_vector(item), p=1)


@CASES.add()
class Kernel(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        gap = (self.user_vector(user) - self.item_vector(item)).pow(2).mean(-1)
        return torch.exp(-gap / 2) + self.item_bias(item).squeeze(-1)


@CASES.add()
class Hyperbolic(Tables):
    """The distance in Poincaré's ball, of vectors drawn into it."""

    @staticmethod
    def inside(vector: Tensor) -> Tensor:
        return 0.9 * vector / (1 + vector.norm(dim=-1, keepdim=True))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.inside(self.user_vector(user)), self.inside(self.item_vector(item))
        gap = (users - items).pow(2).sum(-1)
        room = (1 - users.pow(2).sum(-1)) * (1 - items.pow(2).sum(-1))
        return -torch.acosh(1 + 2 * gap / room)


@CASES.add()
class Temperature(nn.Module):
    """Residual towers with LayerNorm and Dropout, their cosine times a learned scale, as CLIP has it."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, 12), nn.Embedding(items, 12)
        self.towers = nn.ModuleList(self.tower() for _ in range(2))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    @staticmethod
    def tower() -> nn.Module:
        return nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 24), nn.GELU(), nn.Dropout(0.3), nn.Linear(24, 12))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user(user), self.item(item)
        users, items = functional.normalize(users + self.towers[0](users)), functional.normalize(items + self.towers[1](items))
        return self.logit_scale.exp().clamp(max=100) * (users * items).sum(dim=-1)


@CASES.add()
class Complex(Tables):
    """The real part of a product of complex numbers, kept as halves of a vector."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        (real, imaginary), (other_real, other_imaginary) = self.user_vector(user).chunk(2, -1), self.item_vector(item).chunk(2, -1)
        return (real * other_real + imaginary * other_imaginary).sum(-1) - (real * other_imaginary).mean(-1)


@CASES.add("genre")
class Translation(Tables):
    """User plus genre is near to item."""

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        gap = self.user_vector(user) + self.genre_vector(genre) - self.item_vector(item)
        return self.item_bias(item).view(-1) - gap.norm(p=2, dim=1)


@CASES.add()
class Hamming(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return ((self.user_vector(user) > 0) == (self.item_vector(item) > 0)).float().sum(-1)


@CASES.add()
class HammingCount(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return ((self.user_vector(user) > 0) == (self.item_vector(item) > 0)).sum(-1)


@CASES.add()
class Pearson(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user), self.item_vector(item)
        return functional.cosine_similarity(users - users.mean(1, keepdim=True), items - items.mean(1, keepdim=True), dim=1)


@CASES.add()
class Jaccard(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = torch.sigmoid(self.user_vector(user)), torch.sigmoid(self.item_vector(item))
        return torch.minimum(users, items).sum(1) / torch.maximum(users, items).sum(1)


@CASES.add()
class Divergence(Tables):
    """The Wasserstein distance of two Gaussians, a mean and a spread each."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user), self.item_vector(item)
        mean = (users[:, :4] - items[:, :4]).square().sum(1)
        spread = (functional.elu(users[:, 4:]) - functional.elu(items[:, 4:])).square().sum(1)
        return -(mean + spread)
