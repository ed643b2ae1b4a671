"""PyTorch: layers over embeddings, side by side, crossed, gated and attended to."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.unseen.case import GENRES, Cases
from tests.export.unseen.factorising import WIDTH, Tables

CASES = Cases()


@CASES.add("genre", "publisher")
class DeepFM(Tables):
    def add_layers(self) -> None:
        self.publisher_vector = nn.Embedding(11, WIDTH)
        self.deep = nn.Sequential(nn.Linear(4 * WIDTH, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 1))

    def forward(self, user: Tensor, item: Tensor, genre: Tensor, publisher: Tensor) -> Tensor:
        vectors = [self.user_vector(user), self.item_vector(item), self.genre_vector(genre), self.publisher_vector(publisher)]
        fields = torch.stack(vectors, 1)
        second = 0.5 * (fields.sum(1) ** 2 - (fields**2).sum(1)).sum(1, keepdim=True)
        linear = self.user_bias(user) + self.item_bias(item) + self.genre_bias(genre)
        return torch.sigmoid(linear + second + self.deep(fields.flatten(1))).view(-1)


@CASES.add("genres", "year")
class WideAndDeep(Tables):
    def add_layers(self) -> None:
        self.wide = nn.Linear(GENRES + 1, 1)
        self.deep = nn.Sequential(nn.Linear(2 * WIDTH + GENRES + 1, 16), nn.ELU(), nn.Linear(16, 8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, user: Tensor, item: Tensor, genres: Tensor, year: Tensor) -> Tensor:
        numbers = torch.cat([genres, (year.unsqueeze(1) - 1980) / 20], dim=1)
        deep = self.deep(torch.cat([self.user_vector(user), numbers, self.item_vector(item)], dim=1))
        return (self.wide(numbers) + deep).squeeze(-1)


@CASES.add("genre")
class CrossNetwork(Tables):
    def add_layers(self) -> None:
        self.cross = nn.ModuleList(nn.Linear(3 * WIDTH, 1, bias=False) for _ in range(3))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(3 * WIDTH)) for _ in range(3))
        self.head = nn.Linear(3 * WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        first = torch.cat([self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], -1) * 0.3
        hidden = first
        for layer, bias in zip(self.cross, self.biases, strict=True):
            hidden = first * layer(hidden) * 0.3 + bias + hidden
        return torch.sigmoid(self.head(hidden)[:, 0])


@CASES.add()
class CrossMatrix(Tables):
    def add_layers(self) -> None:
        self.layers = nn.ModuleList(nn.Linear(2 * WIDTH, 2 * WIDTH) for _ in range(2))
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        first = hidden = torch.cat((self.item_vector(item), self.user_vector(user)), 1)
        for layer in self.layers:
            hidden = first * layer(hidden) / 4 + hidden
        return self.head(hidden).flatten()


@CASES.add("genre", "publisher")
class FeatureAttention(Tables):
    """The user attends to the fields of an item."""

    def add_layers(self) -> None:
        self.publisher_vector, self.query = nn.Embedding(11, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor, publisher: Tensor) -> Tensor:
        fields = torch.stack([self.item_vector(item), self.genre_vector(genre), self.publisher_vector(publisher)], 1)
        weights = torch.softmax(torch.einsum("bd,bkd->bk", self.query(self.user_vector(user)), fields) / 8**0.5, dim=1)
        seen = (weights.unsqueeze(-1) * fields).sum(1)
        return (self.user_vector(user) * seen).sum(-1)


@CASES.add("genre")
class SelfAttention(Tables):
    """Three tokens, two heads (AutoInt)."""

    def add_layers(self) -> None:
        self.attention, self.head = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.Linear(3 * WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        tokens = torch.stack([self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], dim=1)
        mixed, _weights = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(torch.relu(mixed + tokens).flatten(1)).squeeze(1)


@CASES.add("genre")
class Transformer(Tables):
    def add_layers(self) -> None:
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        tokens = torch.stack([self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], dim=1)
        return self.head(self.block(tokens).mean(1)).squeeze(1)


@CASES.add()
class NeuralCF(Tables):
    def add_layers(self) -> None:
        sizes = (2 * WIDTH, 16, 8)
        steps = [nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU(0.1)) for a, b in pairwise(sizes)]
        self.tower, self.head = nn.Sequential(*steps), nn.Linear(8 + WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user), self.item_vector(item)
        return torch.sigmoid(self.head(torch.cat([self.tower(torch.cat([users, items], 1)), users * items], 1))).squeeze()


@CASES.add()
class NormalisedInput(Tables):
    """BatchNorm straight behind the join."""

    def add_layers(self) -> None:
        self.norm, self.layers = nn.BatchNorm1d(2 * WIDTH), nn.Sequential(nn.Linear(2 * WIDTH, 12), nn.PReLU(12), nn.Linear(12, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.layers(self.norm(torch.cat([self.user_vector(user), self.item_vector(item)], dim=1)))


@CASES.add("dense")
class Experts(Tables):
    """A mixture of experts whose gate looks at the user alone."""

    def add_layers(self) -> None:
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(2 * WIDTH + 5, 8), nn.Softplus(), nn.Linear(8, 1)) for _ in range(3))
        self.gate = nn.Linear(WIDTH, 3)

    def forward(self, user: Tensor, item: Tensor, dense: Tensor) -> Tensor:
        person = self.user_vector(user)
        joined = torch.cat([person, self.item_vector(item), dense], dim=-1)
        scores = torch.cat([expert(joined) for expert in self.experts], dim=-1)
        return (torch.softmax(self.gate(person), dim=-1) * scores).sum(-1)


@CASES.add()
class HardRouting(Tables):
    """One expert for each user, the others' scores thrown away."""

    def add_layers(self) -> None:
        self.gate, self.experts = nn.Linear(WIDTH, 3), nn.Linear(2 * WIDTH, 3)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        person = self.user_vector(user)
        scores = self.experts(torch.cat([person, self.item_vector(item)], 1))
        return scores.gather(1, self.gate(person).argmax(1, keepdim=True)).squeeze(1)


@CASES.add()
class Gated(Tables):
    def add_layers(self) -> None:
        self.user_layer, self.item_layer, self.head = (nn.Linear(WIDTH, n) for n in (WIDTH, WIDTH, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        gate, value = torch.relu(self.user_layer(self.user_vector(user))), torch.relu(self.item_layer(self.item_vector(item)))
        return self.head(gate * value).squeeze(1)


@CASES.add()
class OuterProduct(Tables):
    """ConvNCF: every product of two entries is a pixel."""

    def add_layers(self) -> None:
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 2, 2), nn.ReLU(), nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)
        )

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.layers(
            torch.bmm(self.user_vector(user).unsqueeze(2), self.item_vector(item).unsqueeze(1)).unsqueeze(1)
        ).squeeze(1)


@CASES.add()
class MultiInterest(nn.Module):
    """Several vectors for each user; the nearest of them counts."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.interests, self.item = nn.Embedding(users, 4 * 6), nn.Embedding(items, 6)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.einsum("bd,bkd->bk", self.item(item), self.interests(user).view(-1, 4, 6)).max(dim=1).values


@CASES.add()
class SoftInterest(nn.Module):
    """DIN: a user's interests, weighed by the item at hand, then layers."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.interests, self.item = nn.Embedding(users, 4 * 6), nn.Embedding(items, 6)
        self.score = nn.Sequential(nn.Linear(24, 8), nn.Sigmoid(), nn.Linear(8, 1))
        self.head = nn.Sequential(nn.Linear(12, 8), nn.PReLU(), nn.Linear(8, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        interests, target = self.interests(user).reshape(-1, 4, 6), self.item(item)
        wide = target.unsqueeze(1).expand(-1, 4, -1)
        weights = self.score(torch.cat([interests, wide, interests - wide, interests * wide], dim=-1)).softmax(1)
        return self.head(torch.cat([(weights * interests).sum(1), target], -1)).squeeze(-1)


@CASES.add()
class Hypernetwork(Tables):
    """A user is a layer."""

    def add_layers(self) -> None:
        self.layer = nn.Embedding(self.users, WIDTH * 5)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        hidden = torch.matmul(self.item_vector(item).unsqueeze(1), self.layer(user).view(-1, 8, 5)).squeeze(1)
        return functional.leaky_relu(hidden, 0.2).sum(1)


@CASES.add()
class History(nn.Module):
    """A user is what it has seen: rows of the table of items (SVD++, FISM)."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.item, self.bias = nn.Embedding(items, 8), nn.Embedding(items, 1)
        self.register_buffer("seen", torch.randint(0, items, (users, 5), generator=torch.Generator().manual_seed(2)))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        person = self.item(self.seen[user]).mean(1)
        return (person * self.item(item)).sum(1) + self.bias(item).squeeze(1)


@CASES.add("genre")
class AttentionalFM(Tables):
    def add_layers(self) -> None:
        self.attention, self.head = nn.Sequential(nn.Linear(WIDTH, 4), nn.ReLU(), nn.Linear(4, 1)), nn.Linear(WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        fields = torch.stack([self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], 1)
        row, column = torch.triu_indices(3, 3, 1)
        products = fields[:, row] * fields[:, column]
        weights = torch.softmax(self.attention(products), dim=1)
        return (self.head((weights * products).sum(1)) + self.item_bias(item)).squeeze(1)


@CASES.add("genre", "dense")
class DotInteraction(Tables):
    """DLRM: a layer for the numbers, products of all pairs of vectors, a layer on top."""

    def add_layers(self) -> None:
        self.bottom, self.top = (
            nn.Sequential(nn.Linear(5, WIDTH), nn.ReLU()),
            nn.Sequential(nn.Linear(WIDTH + 6, 8), nn.ReLU(), nn.Linear(8, 1)),
        )

    def forward(self, user: Tensor, item: Tensor, genre: Tensor, dense: Tensor) -> Tensor:
        numbers = self.bottom(dense)
        fields = torch.stack([numbers, self.user_vector(user), self.item_vector(item), self.genre_vector(genre)], dim=1)
        products = torch.bmm(fields, fields.transpose(1, 2))
        row, column = torch.tril_indices(4, 4, -1)
        return torch.sigmoid(self.top(torch.cat([numbers, products[:, row, column]], dim=1))).squeeze(1)


@CASES.add()
class ExpectedRating(Tables):
    """The probability of each of five ratings, and their mean."""

    def add_layers(self) -> None:
        self.layers = nn.Sequential(nn.Linear(2 * WIDTH, 16), nn.ReLU(), nn.Linear(16, 5))
        self.register_buffer("fixed_stars", torch.arange(1.0, 6.0))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.layers(torch.cat([self.user_vector(user), self.item_vector(item)], 1)).softmax(-1) @ self.fixed_stars


@CASES.add()
class Ordinal(Tables):
    """How many of its own thresholds a user lets an item pass."""

    def add_layers(self) -> None:
        self.steps = nn.Embedding(self.users, 4)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        thresholds = functional.softplus(self.steps(user)).cumsum(1) - 2
        return 1 + torch.sigmoid(self.dot(user, item).unsqueeze(1) - thresholds).sum(1)


@CASES.add()
class ResidualLayers(Tables):
    def add_layers(self) -> None:
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * WIDTH, 2 * WIDTH), nn.GELU(), nn.LayerNorm(2 * WIDTH)) for _ in range(2)
        )
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        hidden = torch.cat([self.user_vector(user), self.item_vector(item)], 1)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.head(hidden).squeeze(1)


@CASES.add()
class Differences(Tables):
    """What sentence encoders do with two vectors: both, their product and the size of their difference."""

    def add_layers(self) -> None:
        self.head = nn.Sequential(nn.Linear(4 * WIDTH, 10), nn.Tanh(), nn.Linear(10, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user), self.item_vector(item)
        return self.head(torch.cat([users, items, torch.abs(users - items), users * items], dim=1)).squeeze(1)


@CASES.add("year")
class Buckets(Tables):
    def add_layers(self) -> None:
        self.register_buffer("fixed_years", torch.arange(1940.0, 2020.0, 10.0))
        self.decade = nn.Embedding(9, WIDTH)

    def forward(self, user: Tensor, item: Tensor, year: Tensor) -> Tensor:
        decade = (year.unsqueeze(1) >= self.fixed_years).long().sum(1)
        return (self.user_vector(user) * (self.item_vector(item) + self.decade(decade))).sum(1)


@CASES.add()
class BestThree(Tables):
    """Only the three largest agreements count."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.topk(self.user_vector(user) * self.item_vector(item), 3, dim=1).values.sum(1)


@CASES.add()
class Permuted(Tables):
    """Heads as people write them: view, transpose, unbind, stack."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user).view(-1, 2, 4).transpose(0, 1), self.item_vector(item).view(-1, 4, 2).permute(2, 0, 1)
        heads = [(a * b).sum(-1) for a, b in zip(users.unbind(0), items.unbind(0), strict=True)]
        return torch.stack(heads, -1).logsumexp(-1)


@CASES.add("tags")
class TagReader(Tables):
    """An LSTM over an item's tags."""

    def add_layers(self) -> None:
        self.tag, self.reader = nn.Embedding(12, 6), nn.LSTM(6, WIDTH, batch_first=True)

    def forward(self, user: Tensor, item: Tensor, tags: Tensor) -> Tensor:
        _states, (last, _cell) = self.reader(self.tag(tags))
        return (self.user_vector(user) * (self.item_vector(item) + last[-1])).sum(1)
