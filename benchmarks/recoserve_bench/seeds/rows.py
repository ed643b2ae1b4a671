"""The models: the rows of the list in docs/export.md, each with the file format that it is saved in."""

from dataclasses import dataclass

KERAS, TORCH, TABLES = "keras", "torch", "tables"


@dataclass(frozen=True)
class Seed:
    """A model: the letter of its `row`, the `name` of what builds it, and the suffix of the `file` or tables that it is saved in.

    `similarity` is the option of the command line, if any. `truth` says what responses are compared with: the framework's own
    scores ("model"), or the cosine or the dot product of the framework's vectors. `refused` is what the error must say of a model
    that can't be exported. `logits`: no sigmoid ends the model. After training, the weights of its last layer are made `steeper`
    times as large, as long training would make them.
    """

    row: str
    name: str
    framework: str
    file: str
    truth: str = "model"
    similarity: str | None = None
    logits: bool = False
    refused: str = ""
    steeper: float = 1.0

    @property
    def is_tables(self) -> bool:
        """Whether two tables are exported in place of a model."""
        return self.framework == TABLES

    @property
    def title(self) -> str:
        """The model's name in the table of figures."""
        return self.name if self.steeper == 1 else f"{self.name} x{self.steeper:g}"

    def __str__(self) -> str:
        return f"{self.row} {self.framework} {self.title} {self.file}"


def _a() -> list[Seed]:
    return [
        Seed("a", "dot", KERAS, ".keras", "cosine"),
        Seed("a", "dot", KERAS, ".h5", "model", "model"),
        Seed("a", "cosine", KERAS, ".keras", "model", "model"),
        Seed("a", "cosine", KERAS, ".h5", "cosine"),
        Seed("a", "dot_of_columns", KERAS, ".keras", "dot", "dot"),
        Seed("a", "dot_of_columns", KERAS, ".h5", "model", "model"),
        Seed("a", "DotOfTables", TORCH, ".pt", "cosine"),
        Seed("a", "DotOfTables", TORCH, ".safetensors", "model", "model"),
        Seed("a", "CosineOfTables", TORCH, ".pth", "model", "model"),
    ]


def _b() -> list[Seed]:
    return [
        Seed("b", "perceptron", KERAS, ".keras"),
        Seed("b", "perceptron", KERAS, ".h5"),
        Seed("b", "Perceptron", TORCH, ".pt"),
        Seed("b", "Perceptron", TORCH, ".onnx"),
    ]


def _c() -> list[Seed]:
    return [
        Seed("c", "genre", KERAS, ".keras"),
        Seed("c", "genre_batch_norm", KERAS, ".keras"),
        Seed("c", "genre_dropout", KERAS, ".h5"),
        Seed("c", "marked_genres", KERAS, ".keras"),
        Seed("c", "GenrePerceptron", TORCH, ".pt"),
        Seed("c", "MarkedGenres", TORCH, ".pt"),
        Seed("c", "MarkedGenres", TORCH, ".onnx"),
        Seed("c", "genre_batch_norm", TORCH, ".safetensors"),
        Seed("c", "genre_dropout", TORCH, ".pt2"),
    ]


def _d() -> list[Seed]:
    return [
        Seed("d", "Books", TORCH, ".pt"),
        Seed("d", "wide_books", TORCH, ".safetensors"),
        Seed("d", "wide_books", TORCH, ".onnx"),
        Seed("d", "wide_books", TORCH, ".pt", steeper=10),
        Seed("d", "wide_books", TORCH, ".pth", steeper=100),
        Seed("d", "BookLogits", TORCH, ".pt", logits=True, steeper=10),
        Seed("d", "books", KERAS, ".keras"),
        Seed("d", "wide_books", KERAS, ".h5"),
        Seed("d", "wide_books", KERAS, ".keras", steeper=10),
    ]


def _e() -> list[Seed]:
    return [
        Seed("e", "kmr.similarity", KERAS, ".keras", "cosine"),
        Seed("e", "kmr.similarity", KERAS, ".h5", "cosine"),
        Seed("e", "kmr.similarity_of_pairs", KERAS, ".keras", "cosine"),
        Seed("e", "kmr.explainer", KERAS, ".keras", "cosine"),
        Seed("e", "kmr.deep_towers", KERAS, ".keras", "model", "model"),
        Seed("e", "kmr.deep_towers", KERAS, ".h5", "cosine"),
    ]


def _f() -> list[Seed]:
    return [
        Seed("f", "two_widths", KERAS, ".keras"),
        Seed("f", "TwoWidths", TORCH, ".pt"),
        Seed("f", "two_widths_dot", KERAS, ".keras", refused="axis values 64 (at axis 1) != 32"),
        Seed("f", "TwoWidthsDot", TORCH, ".pt", refused="64 wide, item table 'movie_embedding' 32"),
        Seed("f", "TwoWidthsDot", TABLES, ".npy", refused="64 wide"),
        Seed("f", "TwoWidthsDot", TABLES, ".safetensors", refused="64 wide"),
    ]


def _g() -> list[Seed]:
    return [
        Seed("g", "DotOfTables", TABLES, ".npy", "cosine"),
        Seed("g", "DotOfTables", TABLES, ".npy", "dot", "dot"),
        Seed("g", "DotOfTables", TABLES, ".safetensors", "cosine"),
    ]


def _h() -> list[Seed]:
    return [
        Seed("h", "two_towers", KERAS, ".keras", "model", "model", logits=True),
        Seed("h", "two_towers", KERAS, ".h5", "cosine", logits=True),
        Seed("h", "TwoTowers", TORCH, ".pt", "model", "model", logits=True),
        Seed("h", "TwoTowers", TORCH, ".onnx", "cosine", logits=True),
        Seed("h", "GenreTowers", TORCH, ".pt", "model", "model", logits=True),
        Seed("h", "cosine_towers", KERAS, ".keras", "model", "model", logits=True),
        Seed("h", "CosineTowers", TORCH, ".pt", "model", "model", logits=True),
        Seed("h", "biased_dot", KERAS, ".keras"),
        Seed("h", "BiasedDot", TORCH, ".pt"),
        Seed("h", "weighted_dot", KERAS, ".h5"),
        Seed("h", "WeightedDot", TORCH, ".pt"),
        Seed("h", "neural_factors", KERAS, ".keras"),
        Seed("h", "NeuralFactors", TORCH, ".safetensors"),
        Seed("h", "residual_towers", KERAS, ".keras", "model", "model", logits=True),
        Seed("h", "ResidualTowers", TORCH, ".pt", "model", "model", logits=True),
        Seed("h", "normalised_towers", KERAS, ".keras", "model", "model", logits=True),
        Seed("h", "NormalisedTowers", TORCH, ".pt", "model", "model", logits=True),
        Seed("h", "normalised_perceptron", KERAS, ".h5"),
        Seed("h", "NormalisedPerceptron", TORCH, ".pt"),
    ]


SEEDS = [*_a(), *_b(), *_c(), *_d(), *_e(), *_f(), *_g(), *_h()]
ROWS = sorted({seed.row for seed in SEEDS})
