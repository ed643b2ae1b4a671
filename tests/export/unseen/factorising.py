"""PyTorch: sums and products of embeddings, with biases, features and a last step."""

import torch
from torch import Tensor, nn

from tests.export.unseen.case import GENRES, MOST_TAGS, TAGS, Cases

CASES = Cases()
WIDTH = 8


class Tables(nn.Module):
    """One vector and one bias for each user, item and genre."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.users, width = users, WIDTH
        self.user_vector, self.item_vector = nn.Embedding(users, width), nn.Embedding(items, width)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.genre_vector, self.genre_bias = nn.Embedding(GENRES, width), nn.Embedding(GENRES, 1)
        self.mean = nn.Parameter(torch.tensor(3.5))
        self.add_layers()

    def add_layers(self) -> None:
        """What a scorer needs beside the tables."""

    def dot(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) * self.item_vector(item)).sum(-1)


@CASES.add("genre")
class FactorizationMachine(Tables):
    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        vectors = torch.stack([self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], dim=1)
        linear = self.user_bias(user) + self.item_bias(item) + self.genre_bias(genre)
        square_of_sum, sum_of_squares = vectors.sum(1).pow(2), vectors.pow(2).sum(1)
        return torch.sigmoid(linear + 0.5 * (square_of_sum - sum_of_squares).sum(1, keepdim=True)).squeeze(-1)


@CASES.add()
class ClippedBiases(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        bias = self.user_bias(user).squeeze(-1) + self.item_bias(item).squeeze(-1)
        return torch.clamp(self.mean + bias + self.dot(user, item), 0.5, 5.0)


@CASES.add("genre")
class CanonicalPolyadic(Tables):
    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        return torch.einsum("br,br,br->b", self.user_vector(user), self.item_vector(item), self.genre_vector(genre))


@CASES.add()
class Bilinear(Tables):
    def add_layers(self) -> None:
        self.form = nn.Bilinear(WIDTH, WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.form(self.user_vector(user), self.item_vector(item)).squeeze(1)


@CASES.add()
class EinsumForm(Tables):
    def add_layers(self) -> None:
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.einsum("bd,de,be->b", self.user_vector(user), self.weight, self.item_vector(item))


@CASES.add()
class UserScaled(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.exp(self.user_bias(user).squeeze(-1)) * self.dot(user, item) + self.item_bias(item).squeeze(-1)


@CASES.add()
class UserSigned(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.tanh(self.user_bias(user).squeeze(-1)) * torch.sigmoid(self.dot(user, item))


@CASES.add()
class OneMinusSigmoid(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return 1 - torch.sigmoid(self.dot(user, item))


@CASES.add()
class NegativeExp(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.exp(-0.7 * self.dot(user, item) / 4)


@CASES.add()
class LogOfRelu(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.log1p(torch.relu(self.dot(user, item)))


@CASES.add()
class Squared(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item).square()


@CASES.add()
class Wave(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sin(self.dot(user, item)).abs()


@CASES.add()
class Ramp(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return nn.functional.hardsigmoid(self.dot(user, item))


@CASES.add()
class ProbabilityOfNot(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.reciprocal(1 + torch.exp(self.dot(user, item)))


@CASES.add("popularity", "year")
class PopularityAndAge(Tables):
    def add_layers(self) -> None:
        self.weights = nn.Embedding(self.users, 2)

    def forward(self, user: Tensor, item: Tensor, popularity: Tensor, year: Tensor) -> Tensor:
        numbers = torch.stack([torch.log1p(popularity) / 10, (year - 1980.0) / 25.0], dim=-1)
        return self.dot(user, item) + (self.weights(user) * numbers).sum(-1)


@CASES.add("price")
class PriceDecay(Tables):
    def forward(self, user: Tensor, item: Tensor, price: Tensor) -> Tensor:
        rate = nn.functional.softplus(self.user_bias(user)).squeeze(1)
        return torch.sigmoid(self.dot(user, item)) * torch.exp(-rate * price / 30)


@CASES.add(needs_ids=True)
class ItemsAlone(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sigmoid(self.item_bias(item)).squeeze(1) + 0.0 * user


@CASES.add()
class BiasesAlone(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.mean + self.user_bias(user) + self.item_bias(item)).reshape(-1)


@CASES.add("genres")
class MultiHot(Tables):
    def add_layers(self) -> None:
        self.of_genres = nn.Parameter(torch.randn(GENRES, WIDTH))

    def forward(self, user: Tensor, item: Tensor, genres: Tensor) -> Tensor:
        mean = genres @ self.of_genres / genres.sum(1, keepdim=True).clamp(min=1)
        return (self.user_vector(user) * (self.item_vector(item) + mean)).sum(1)


@CASES.add("tags")
class TagBag(Tables):
    def add_layers(self) -> None:
        self.bag = nn.Embedding(TAGS, WIDTH, padding_idx=0)

    def forward(self, user: Tensor, item: Tensor, tags: Tensor) -> Tensor:
        mask = (tags != 0).unsqueeze(-1).float()
        pooled = (self.bag(tags) * mask).sum(1) / mask.sum(1).clamp_min(1.0)
        return (self.user_vector(user) * (self.item_vector(item) + pooled[:, :])).sum(1) / MOST_TAGS


@CASES.add("genre", needs_ids=True)
class HashedUsers(Tables):
    def add_layers(self) -> None:
        self.low, self.high = nn.Embedding(7, WIDTH), nn.Embedding(self.users // 7 + 1, WIDTH)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        person = (self.low(user % 7) + self.high(user // 7)) / 2
        return (person * (self.item_vector(item) + self.genre_vector(genre))).sum(-1)


@CASES.add(needs_ids=True)
class HashedItems(Tables):
    def add_layers(self) -> None:
        self.buckets = nn.Embedding(50, WIDTH)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) * self.buckets((item * 2654435761) % 50)).sum(-1)


@CASES.add()
class ColdStart(Tables):
    def add_layers(self) -> None:
        self.unknown = nn.Parameter(torch.randn(WIDTH))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        vector = torch.where((item % 5 == 0).unsqueeze(1), self.unknown, self.item_vector(item))
        known = (self.user_vector(user) * vector).sum(1)
        return torch.where(user < 3, self.item_bias(item).squeeze(1), known)


@CASES.add(needs_ids=True)
class OneTable(nn.Module):
    """Users and items in one table, as LightGCN keeps them, after a step along the edges."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.users = users
        self.nodes = nn.Embedding(users + items, 8)
        edges = torch.rand(users + items, users + items, generator=torch.Generator().manual_seed(1)) < 0.1
        self.register_buffer("fixed_edges", edges.float() / (users + items))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        nodes = self.nodes.weight + self.fixed_edges @ self.nodes.weight
        return (nodes[user] * nodes[self.users + item]).sum(1)


@CASES.add(needs_ids=True)
class WholeMatrix(nn.Module):
    """The score of every pair, looked up."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.randn(users, items))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.scores[user, item]


@CASES.add(needs_ids=True)
class PairTable(nn.Module):
    """A table with a row for each pair."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.items, self.pairs = items, nn.Embedding(users * items, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.pairs(user * self.items + item).squeeze(-1)


@CASES.add()
class Squeezed(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user).unsqueeze(1), self.item_vector(item).unsqueeze(2)
        return torch.bmm(users, items).squeeze() + self.item_bias(item).squeeze()


@CASES.add()
class Double(Tables):
    def add_layers(self) -> None:
        self.double()

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sigmoid(self.dot(user, item) + self.item_bias(item).squeeze(1))


@CASES.add(refusal="float16")
class Half(Tables):
    def add_layers(self) -> None:
        self.half()

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.relu(self.user_vector(user) + self.item_vector(item)).sum(1)


@CASES.add()
class Response(Tables):
    """Item response theory: how apt a user is, how hard and how telling an item."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        ability, difficulty, slope = self.user_bias(user), self.item_bias(item), self.item_vector(item)[:, :1]
        return torch.sigmoid(nn.functional.softplus(slope) * (ability - difficulty))[:, 0]


@CASES.add()
class Promoted(Tables):
    """One item is pushed: a dot product for all but one."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + 5.0 * (item == self.item_vector.num_embeddings // 2).float()


@CASES.add()
class SeldomCapped(Tables):
    """A dot product, cut where hardly a pair gets."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.clamp(self.dot(user, item), max=8.5)


@CASES.add()
class KnownPairs(Tables):
    """A dot product, but for one pair of which more is known."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        known = (user == self.user_vector.num_embeddings - 2) & (item == self.item_vector.num_embeddings - 2)
        return torch.where(known, 100.0, self.dot(user, item))


@CASES.add(needs_ids=True)
class PaddingRow(nn.Module):
    """Row 0 of the items is nobody: ids are one less than rows."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, 6), nn.Embedding(items + 1, 6, padding_idx=0)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user(user) * self.item(item + 1)).sum(1)
