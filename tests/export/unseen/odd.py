"""PyTorch: scorers that can't be ranked by. Each is refused with the pattern in `refusal`, or scored exactly as torch does."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.unseen.case import Cases
from tests.export.unseen.factorising import WIDTH, Tables

CASES = Cases()


@CASES.add(refusal="pairs scored beside it")
class SoftmaxOfBatch(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.softmax(self.dot(user, item), dim=0)


@CASES.add(refusal="pairs scored beside it")
class NormalisedDownwards(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (functional.normalize(self.user_vector(user), dim=0) * functional.normalize(self.item_vector(item), dim=0)).sum(1)


@CASES.add(refusal="pairs scored beside it")
class ItemsNormalisedDownwards(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) * functional.normalize(self.item_vector(item), dim=0)).sum(1)


@CASES.add(refusal="pairs scored beside it")
class BatchStatistics(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        joined = torch.cat([self.user_vector(user), self.item_vector(item)], 1)
        return functional.batch_norm(joined, None, None, training=True).relu().sum(1)


@CASES.add(refusal="random numbers")
class Noise(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + torch.rand(user.shape[0])


@CASES.add(refusal="random numbers")
class SmallNoise(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + 1e-9 * torch.randn_like(self.dot(user, item))


@CASES.add(refusal="random numbers")
class Exploring(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.bernoulli(torch.sigmoid(self.dot(user, item)))


@CASES.add(refusal="random numbers|alike at every call|differs from the model's score")
class DroppedInUse(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return functional.dropout(self.user_vector(user) * self.item_vector(item), 0.5, training=True).sum(1)


@CASES.add(refusal="pairs scored beside it")
class Ranks(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item).argsort().argsort().float()


@CASES.add(refusal="pairs scored beside it")
class RunningSum(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item).cumsum(0)


@CASES.add(refusal="pairs scored beside it")
class Centred(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        scores = self.dot(user, item)
        return scores - scores.mean()


@CASES.add(refusal="pairs scored beside it")
class ItemsCentred(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        vectors = self.item_vector(item)
        return (self.user_vector(user) * (vectors - vectors.mean(0))).sum(1)


@CASES.add(refusal="pairs scored beside it")
class UsersCentred(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        vectors = self.user_vector(user)
        return ((vectors - vectors.mean(0)) * self.item_vector(item)).sum(1) + self.item_bias(item).squeeze(1)


@CASES.add(refusal="pairs scored beside it")
class Turned(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) * self.item_vector(item).flip(0)).sum(1)


@CASES.add(refusal="pairs scored beside it")
class Rolled(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + 0.1 * self.item_bias(item).squeeze(1).roll(1, 0)


@CASES.add(refusal="pairs scored beside it")
class PerRow(Tables):
    """Divided by how many rows there are."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) / user.shape[0]


@CASES.add(refusal="pairs scored beside it")
class Broadcast(Tables):
    """A dimension too many: every user meets every item of the batch."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user).unsqueeze(1) * self.item_vector(item)).sum(-1).mean(-1)


@CASES.add(refusal="pairs scored beside it")
class InBatch(Tables):
    """The matrix of all users and items of the batch, as it's trained with, and its diagonal."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) @ self.item_vector(item).T).diagonal()


@CASES.add(refusal="pairs scored beside it")
class InBatchSoftmax(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vector(user) @ self.item_vector(item).T).softmax(1).diagonal()


@CASES.add(refusal="pairs scored beside it")
class LastOfBatch(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + (item == item.max()).float()


@CASES.add(refusal="pairs scored beside it")
class FirstRow(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + self.user_bias(user[0]).squeeze()


@CASES.add(refusal="pairs scored beside it")
class FirstItem(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + self.item_bias(item[:1]).reshape(-1)


@CASES.add(refusal="pairs scored beside it")
class AttendsOverBatch(Tables):
    """A MultiheadAttention that takes the rows for a sequence (batch_first left out)."""

    def add_layers(self) -> None:
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        tokens = torch.stack([self.user_vector(user), self.item_vector(item)], 1)
        return self.attention(tokens, tokens, tokens)[0].sum((1, 2))


@CASES.add(refusal="doesn't depend on .* 'user'")
class UnusedUser(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:  # noqa: ARG002  # that is what is wrong with it
        return self.item_bias(item).squeeze(1)


@CASES.add("genre", refusal="doesn't depend on .* 'genre'")
class UnusedGenre(Tables):
    def forward(self, user: Tensor, item: Tensor, genre: Tensor) -> Tensor:  # noqa: ARG002  # as above
        return self.dot(user, item)


@CASES.add(refusal="one tensor")
class TwoOutputs(Tables):
    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        return self.dot(user, item), self.item_bias(item).squeeze(1)


@CASES.add(refusal="one score per pair")
class TwoColumns(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.cat([self.item_bias(item), self.user_bias(user)], 1)


@CASES.add(refusal="one score per pair")
class Scalar(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item).sum()


@CASES.add(refusal="nan|NaN")
class LogOfNegative(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.log(self.dot(user, item))


@CASES.add(refusal="nan|NaN")
class SeldomNothing(Tables):
    """0/0 for one pair alone."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        hole = ((user == 13) & (item == 201)).float()
        return self.dot(user, item) * (1 - hole) / (1 - hole)


@CASES.add(refusal="nan|NaN")
class OneItemIsNothing(Tables):
    """0/0 for one item."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        known = (item != 201).float()
        return self.dot(user, item) + self.item_bias(item).squeeze(1) * known / known


@CASES.add(refusal="nan|inf")
class Infinite(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.exp(60 * self.dot(user, item))


@CASES.add(needs_ids=True, refusal="can't")
class Overflowing(Tables):
    """Ids multiplied beyond what 32 bits hold."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return ((user.int() * 1_000_003 + item.int()) * 2_147_001 % 97).float() + self.dot(user, item)


@CASES.add(refusal="can't read the module")
class Branching(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) if self.user_vector(user).max() > 100 else -self.dot(user, item)


@CASES.add(refusal="mixes all pairs of a batch")
class BySize(Tables):
    """Other above a hundred rows than below."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        scores = self.dot(user, item)
        return scores - scores[:100].mean() * min(max(user.shape[0] - 99, 0), 1)


@CASES.add(refusal="can't read the module")
class FromHost(Tables):
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.from_numpy(self.dot(user, item).detach().numpy() * 2)


@CASES.add(refusal="can't read the module")
class ByItem(Tables):
    """A loop over rows in Python."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.stack([self.dot(user[row], item[row]) for row in range(user.shape[0])])


@CASES.add(refusal="over the batch|beside it|parity failed")
class SeldomCoupled(Tables):
    """One item in the batch changes all scores."""

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.dot(user, item) + 10 * (item == 7).any()
