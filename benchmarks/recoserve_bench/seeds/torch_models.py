"""The seeds in PyTorch, as their users write them: each class is built without arguments for ml-latest-small."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recoserve_bench.seeds.data import GENRES, MARKS, MOVIES, USERS

Pair = tuple[Tensor, Tensor]


class DotOfTables(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Row a: two embeddings, their dot product, a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 32)
        self.movie_embedding = nn.Embedding(MOVIES, 32)

    def vectors(self, user: Tensor, movie: Tensor) -> Pair:
        return self.user_embedding(user), self.movie_embedding(movie)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        return torch.sigmoid((user_vectors * movie_vectors).sum(dim=1))


class CosineOfTables(DotOfTables):
    """Row a with normalised vectors, as column vectors and a batched product."""

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        user_vectors, movie_vectors = functional.normalize(user_vectors, dim=1), functional.normalize(movie_vectors, dim=1)
        return torch.sigmoid(torch.bmm(user_vectors.unsqueeze(1), movie_vectors.unsqueeze(2)).squeeze(2).squeeze(1))


class Perceptron(nn.Module):  # type: ignore[misc]
    """Row b: concatenated embeddings, one hidden layer of 64, a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 32)
        self.movie_embedding = nn.Embedding(MOVIES, 32)
        self.hidden = nn.Linear(64, 64)
        self.output = nn.Linear(64, 1)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        joined = torch.cat([self.user_embedding(user), self.movie_embedding(movie)], dim=1)
        return torch.sigmoid(self.output(torch.relu(self.hidden(joined))))


class GenrePerceptron(nn.Module):  # type: ignore[misc]
    """Row c: b with a genre's embedding, and what stands between the layers."""

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 32)
        self.movie_embedding = nn.Embedding(MOVIES, 32)
        self.genre_embedding = nn.Embedding(GENRES, 8)
        self.layers = nn.Sequential(nn.Linear(72, 64), nn.ReLU(), *between, nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, user: Tensor, movie: Tensor, genre: Tensor) -> Tensor:
        embeddings = [self.user_embedding(user), self.movie_embedding(movie), self.genre_embedding(genre)]
        return self.layers(torch.cat(embeddings, dim=-1)).squeeze(-1)


class MarkedGenres(nn.Module):  # type: ignore[misc]
    """Row c: the film's genres as a one for each, through a layer of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 32)
        self.movie_embedding = nn.Embedding(MOVIES, 32)
        self.genres = nn.Linear(MARKS, 8)
        self.layers = nn.Sequential(nn.Linear(72, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, user: Tensor, movie: Tensor, genres: Tensor) -> Tensor:
        embeddings = [self.user_embedding(user), self.movie_embedding(movie), torch.relu(self.genres(genres))]
        return self.layers(torch.cat(embeddings, dim=-1)).squeeze(-1)


def genre_batch_norm() -> nn.Module:
    """Row c with BatchNorm1d."""
    return GenrePerceptron(nn.BatchNorm1d(64))


def genre_dropout() -> nn.Module:
    """Row c with Dropout."""
    return GenrePerceptron(nn.Dropout(0.3))


class Books(nn.Module):  # type: ignore[misc]
    """Row d: embeddings of three widths, joined, and two linear layers."""

    def __init__(self, user: int = 3, movie: int = 3, genre: int = 2) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, user)
        self.movie_embedding = nn.Embedding(MOVIES, movie)
        self.genre_embedding = nn.Embedding(GENRES, genre)
        self.fc1 = nn.Linear(user + movie + genre, 32)
        self.fc2 = nn.Linear(32, 1)

    def logits(self, user: Tensor, movie: Tensor, genre: Tensor) -> Tensor:
        embeddings = [self.user_embedding(user), self.movie_embedding(movie), self.genre_embedding(genre)]
        return self.fc2(torch.relu(self.fc1(torch.cat(embeddings, dim=1))))

    def forward(self, user: Tensor, movie: Tensor, genre: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(user, movie, genre)).squeeze(1)


class BookLogits(Books):
    """Row d with no sigmoid behind it."""

    def forward(self, user: Tensor, movie: Tensor, genre: Tensor) -> Tensor:
        return self.logits(user, movie, genre).squeeze(1)


def wide_books() -> nn.Module:
    """Row d with widths of 50, 50 and 20."""
    return Books(50, 50, 20)


class TwoWidths(Perceptron):
    """Row f: tables of 64 and of 32, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 64)
        self.hidden = nn.Linear(96, 64)


class TwoWidthsDot(DotOfTables):
    """Row f: tables of 64 and of 32, and a dot product that can't be."""

    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(USERS, 64)


class TwoTowers(nn.Module):  # type: ignore[misc]
    """Row h: dense layers over each embedding, and a dot product of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.user_tower = nn.Sequential(nn.Embedding(USERS, 32), *self.layers())
        self.movie_tower = nn.Sequential(nn.Embedding(MOVIES, 32), *self.layers())

    def layers(self) -> list[nn.Module]:
        return [nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 24)]

    def vectors(self, user: Tensor, movie: Tensor) -> Pair:
        return self.user_tower(user), self.movie_tower(movie)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        return torch.einsum("bd,bd->b", user_vectors, movie_vectors)


class NormalisedTowers(TwoTowers):
    """Row h: LayerNormalization in the towers."""

    def layers(self) -> list[nn.Module]:
        return [nn.Linear(32, 48), nn.LayerNorm(48), nn.GELU(), nn.Linear(48, 24), nn.LayerNorm(24)]


class GenreTowers(TwoTowers):
    """Row h: the film's tower takes the genre as well."""

    def __init__(self) -> None:
        super().__init__()
        self.genre_embedding = nn.Embedding(GENRES, 24)

    def forward(self, user: Tensor, movie: Tensor, genre: Tensor) -> Tensor:  # type: ignore[override]
        user_vectors, movie_vectors = self.vectors(user, movie)
        return (user_vectors * (movie_vectors + self.genre_embedding(genre))).sum(-1)


class CosineTowers(TwoTowers):
    """Row h: F.cosine_similarity of two towers."""

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        return functional.cosine_similarity(*self.vectors(user, movie), dim=1)


class Residual(nn.Module):  # type: ignore[misc]
    """A layer whose input is added to its output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor) -> Tensor:
        return self.norm(rows + self.inner(rows))


class ResidualTowers(TwoTowers):
    """Row h: residual layers in the towers."""

    def layers(self) -> list[nn.Module]:
        return [Residual(32), Residual(32), nn.Linear(32, 24)]


class BiasedDot(DotOfTables):
    """Row h: a dot product with a bias of the user, one of the film, and one of all."""

    def __init__(self) -> None:
        super().__init__()
        self.user_bias = nn.Embedding(USERS, 1)
        self.movie_bias = nn.Embedding(MOVIES, 1)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        biases = self.user_bias(user).squeeze(-1) + self.movie_bias(movie).squeeze(-1) + self.bias
        return torch.sigmoid((user_vectors * movie_vectors).sum(-1) + biases)


class WeightedDot(DotOfTables):
    """Row h, GMF: the product of both embeddings, weighted by a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(32, 1)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        return torch.sigmoid(self.output(user_vectors * movie_vectors))


class NeuralFactors(DotOfTables):
    """Row h, NeuMF: GMF beside a perceptron over embeddings of its own, in one last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.user_mlp = nn.Embedding(USERS, 16)
        self.movie_mlp = nn.Embedding(MOVIES, 16)
        self.mlp = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.output = nn.Linear(48, 1)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        user_vectors, movie_vectors = self.vectors(user, movie)
        deep = self.mlp(torch.cat([self.user_mlp(user), self.movie_mlp(movie)], -1))
        return torch.sigmoid(self.output(torch.cat([user_vectors * movie_vectors, deep], -1)).squeeze(-1))


class NormalisedPerceptron(Perceptron):
    """Row h: LayerNormalization after the join, and a residual layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.more = Residual(64)

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        joined = torch.cat([self.user_embedding(user), self.movie_embedding(movie)], dim=1)
        hidden = self.more(functional.gelu(self.norm(self.hidden(joined))))
        return torch.sigmoid(self.output(hidden)).flatten()
