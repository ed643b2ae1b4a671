"""PyTorch: scorers that are easily got wrong: zeros that are divided by, whole numbers, ties, weights made on the way."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.export.unseen.case import GENRES, TAGS, Cases
from tests.export.unseen.factorising import WIDTH, Tables

CASES = Cases()


@CASES.add()
class SafeCosine(Tables):
    """Unknown users and items have zeros for a vector, and a score of zero."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users = self.user_vector(user) * (user != 0).unsqueeze(1)
        items = self.item_vector(item) * (item % 7 != 0).unsqueeze(1)
        lengths = users.norm(dim=1) * items.norm(dim=1)
        return torch.where(lengths > 0, (users * items).sum(1) / lengths, torch.zeros_like(lengths))


@CASES.add()
class SafeShare(Tables):
    """A share of the user's own sum, which may be nothing."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        total = self.user_vector(user).abs().sum(1) * (user % 5 != 0)
        share = self.dot(user, item) / total
        return torch.where(total == 0, self.item_bias(item).squeeze(1), share)


@CASES.add()
class HalfStars(Tables):
    """Rounded to halves: nearly every score is a tie."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.round(2 * self.dot(user, item)) / 2


@CASES.add()
class FloorDivision(Tables):
    """Whole numbers below zero, divided and with a remainder."""

    def add_layers(self) -> None:
        self.quotient, self.remainder = nn.Embedding(1000, WIDTH), nn.Embedding(7, WIDTH)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        shifted = self.remainder((item - 100) % 7) + self.quotient((item - 100) // 7 + 20)
        return (self.user_vector(user) * (shifted + self.item_vector(item))).sum(1)


@CASES.add("genre")
class OneHot(Tables):
    def add_layers(self) -> None:
        self.layer = nn.Linear(GENRES, WIDTH)

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        return (self.user_vector(user) * (self.layer(functional.one_hot(genre, GENRES).float()) + self.item_vector(item))).sum(1)


@CASES.add("tags", refusal="EmbeddingBag")
class Bag(Tables):
    def add_layers(self) -> None:
        self.bag = nn.EmbeddingBag(TAGS, WIDTH, mode="mean")

    def forward(self, user: Tensor, item: Tensor, tags: Tensor) -> Tensor:
        return (self.user_vector(user) * (self.bag(tags) + self.item_vector(item))).sum(1)


@CASES.add(refusal="max_norm")
class MaxNorm(Tables):
    """Rows are shortened when they are looked up."""

    def add_layers(self) -> None:
        self.short = nn.Embedding(self.users, WIDTH, max_norm=1.0)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.short(user) * self.item_vector(item)).sum(1)


@CASES.add()
class WeightNorm(Tables):
    def add_layers(self) -> None:
        self.layer = parametrizations.weight_norm(nn.Linear(2 * WIDTH, 6))
        self.head = nn.Linear(6, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(torch.cat([self.user_vector(user), self.item_vector(item)], 1)))).squeeze(1)


@CASES.add(refusal="can't read the module|complex")
class Rotation(Tables):
    """A user turns an item's complex numbers (RotatE)."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        numbers = torch.view_as_complex(self.item_vector(item).view(-1, 4, 2).contiguous())
        turns = torch.polar(torch.ones(4), self.user_vector(user)[:, :4])
        return -(numbers * turns - numbers.conj()).abs().sum(1)


@CASES.add(needs_ids=True)
class CentredTable(Tables):
    """Centred over the table, not over the batch."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        table = self.item_vector.weight - self.item_vector.weight.mean(0)
        return (self.user_vector(user) * functional.embedding(item, table)).sum(1)


@CASES.add(refusal="random numbers|alike at every call")
class DroppedHidden(Tables):
    def add_layers(self) -> None:
        self.layer, self.head = nn.Linear(2 * WIDTH, 6), nn.Linear(6, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        hidden = torch.relu(self.layer(torch.cat([self.user_vector(user), self.item_vector(item)], 1)))
        return self.head(functional.dropout(hidden, 0.3, training=True)).squeeze(1)


@CASES.add()
class Unrolled(Tables):
    """A state that starts at zero and takes in one side after the other."""

    def add_layers(self) -> None:
        self.cell, self.head = nn.GRUCell(WIDTH, 5), nn.Linear(5, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        state = torch.zeros(user.shape[0], 5)
        for vector in (self.user_vector(user), self.item_vector(item)):
            state = self.cell(vector, state)
        return self.head(state).view(user.shape[0])


@CASES.add(refusal="only 4D query")
class Attention(Tables):
    """The user's halves attend to the item's."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        query, keys = self.user_vector(user).view(user.size(0), 2, 4), self.item_vector(item).view(item.size(0), 2, 4)
        return functional.scaled_dot_product_attention(query, keys, keys).flatten(1).sum(1)


@CASES.add("genre")
class AdaptiveGenre(Tables):
    """A matrix for each genre."""

    def add_layers(self) -> None:
        self.form = nn.Parameter(torch.randn(GENRES, WIDTH, WIDTH))

    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:
        turned = torch.bmm(self.form[genre], self.item_vector(item).unsqueeze(2)).squeeze(2)
        return torch.einsum("bi,bi->b", turned, self.user_vector(user))


@CASES.add()
class Narrow(Tables):
    """Vectors as wide as the batches of 2 and 3 that an exporter may probe with."""

    def add_layers(self) -> None:
        self.two, self.three = nn.Embedding(self.users, 2), nn.Embedding(self.users, 3)
        self.layer, self.head = nn.Linear(2 + 3 + WIDTH, 3), nn.Linear(3, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        two, three = self.two(user), self.three(user)
        outer = (two.unsqueeze(2) * three.unsqueeze(1)).transpose(1, 2).sum(2)
        hidden = self.layer(torch.cat([two, three, self.item_vector(item)], 1)) * outer
        return self.head(hidden.softmax(1)).squeeze(1)


@CASES.add()
class Overlapping(Tables):
    """Slices that meet across the seam of what stands side by side."""

    def add_layers(self) -> None:
        self.layer = nn.Linear(6, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        joined = torch.cat([self.user_vector(user), self.item_vector(item)], 1)
        return self.layer(joined[:, 5:11] * joined[:, 2:8] + joined[:, -6:].flip(1)).squeeze(1)


@CASES.add()
class Offset(Tables):
    """Large numbers that cancel out."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.dot(user, item) + 100.0) / 10.0 - 10.0


@CASES.add()
class LogOdds(Tables):
    """A probability, and back."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        chance = torch.sigmoid(self.dot(user, item) / 4)
        return torch.log(chance / (1 - chance))


@CASES.add()
class Ratio(Tables):
    """A user's share in an item's sum."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        users, items = self.user_vector(user).exp(), self.item_vector(item).exp()
        return (users * items).sum(1) / (users.sum(1) + items.sum(1))


@CASES.add()
class Compared(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sign(self.dot(user, item)) + 0.5 * torch.heaviside(self.item_bias(item).squeeze(1), torch.tensor(0.5))


@CASES.add()
class SoftenedMinimum(Tables):
    """Rows of a matrix product, and the least of them."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        products = self.user_vector(user).view(-1, 2, 4) @ self.item_vector(item).view(-1, 2, 4).transpose(1, 2)
        return -torch.logsumexp(-products.flatten(1), dim=1) + products.amax((1, 2)) - products.diagonal(dim1=1, dim2=2).prod(1)
