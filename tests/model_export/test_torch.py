"""PyTorch dot models, live and as a state_dict with the code that builds them."""

import hashlib

import numpy as np
import pytest
import torch

from model_export import export_model
from service.bundle.archive import open_bundle
from service.errors import ExportRefused
from tests.model_export.models import brute_force, torch_model

ARCHITECTURE = """
import torch

class Films(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.user = torch.nn.Embedding(40, 8)
        self.film = torch.nn.Embedding(60, 8, padding_idx=0)

    def forward(self, user, movie):
        return (self.user(user) * self.film(movie)).sum(-1)

def needs_an_argument(width):
    return Films()

def no_module():
    return 42
"""


@pytest.fixture
def architecture(tmp_path, monkeypatch):
    """A module in the folder where the command runs, which a console script does not search by itself."""
    (tmp_path / "films_architecture.py").write_text(ARCHITECTURE)
    monkeypatch.chdir(tmp_path)
    return "films_architecture"


@pytest.fixture
def state(vectors, tmp_path):
    path = tmp_path / "films.pt"
    weights = {"user.weight": torch.from_numpy(vectors[0]), "film.weight": torch.from_numpy(vectors[1])}
    torch.save(weights, path)
    return path


@pytest.mark.parametrize(
    ("score", "formula"),
    [
        (lambda _module, left, right: (left * right).sum(-1), "dot"),
        (lambda _module, left, right: torch.sigmoid((left * right).sum(-1, keepdim=True)), "sigmoid(dot)"),
        (lambda _module, left, right: torch.nn.functional.cosine_similarity(left, right), "cosine"),
        (lambda _module, left, right: torch.sigmoid(torch.cosine_similarity(left, right)), "sigmoid(cosine)"),
    ],
)
def test_the_form_of_a_modules_score_is_found_by_comparing(score, formula, vectors, target, ask):
    """Four closed forms are known; `model` serves the one that the module computes."""
    report = export_model(torch_model(*vectors, score=score), target, similarity="model")

    assert formula == report.formula
    rows, scores = ask(target, range(40), 5)
    assert brute_force(*vectors, 5, cosine="cosine" in formula)[1].tolist() == rows.tolist()
    left, right = torch.from_numpy(vectors[0])[:, None], torch.from_numpy(vectors[1])[rows]
    assert np.allclose(score(None, *(each.reshape(200, 8) for each in torch.broadcast_tensors(left, right))).reshape(40, 5), scores)


@pytest.mark.parametrize(
    "score",
    [
        lambda _module, left, right: (left * right).sum(-1) + 0.1,
        lambda _module, left, right: 5 * torch.cosine_similarity(left, right),
        lambda module, left, right: module.head(left * right).squeeze(-1),
        lambda _module, left, right: -torch.linalg.norm(left - right, dim=-1),
    ],
)
def test_a_score_that_is_no_dot_product_is_refused(score, vectors, target, nothing_left):
    """A bias, a scale, a layer over the product, a distance: none is one dot product of the two tables."""
    torch.manual_seed(0)
    model = torch_model(*vectors, score=score, head=torch.nn.Linear(8, 1))

    with pytest.raises(ExportRefused, match="not one dot product"):
        export_model(model, target)

    nothing_left()


def test_bias_tables_are_refused_by_listing_the_embeddings(vectors, target):
    """More than two Embeddings are another model."""
    model = torch_model(*vectors, user_bias=torch.nn.Embedding(40, 1), item_bias=torch.nn.Embedding(60, 1))

    with pytest.raises(ExportRefused, match=r"exactly two.*user_bias Embedding\[40, 1\]"):
        export_model(model, target)


def test_different_widths_are_refused_before_the_model_runs(target):
    """The forward of such a model would fail; it is never called."""

    class Uneven(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.item_embedding = torch.nn.Embedding(9, 32)
            self.user_embedding = torch.nn.Embedding(7, 64)

        def forward(self, user, item):
            raise AssertionError(f"it ran on {user} and {item}")

    with pytest.raises(ExportRefused, match="'user_embedding' is 64 wide, item table 'item_embedding' 32"):
        export_model(Uneven(), target)


def test_the_module_comes_back_as_it_was(vectors, target):
    """Training mode of every part, gradients and weights are untouched, and dropout plays no part in the score."""
    dropout = torch.nn.Dropout(0.5)
    model = torch_model(*vectors, score=lambda module, left, right: module.dropout((left * right).sum(-1)), dropout=dropout)
    model.things.eval()

    export_model(model, target, similarity="model")

    assert (model.training, model.dropout.training, model.things.training) == (True, True, False)
    assert model.people.weight.grad is None
    assert not model.people._forward_pre_hooks
    assert np.array_equal(vectors[0], model.people.weight.detach().numpy())


def test_embeddings_are_told_apart_by_what_is_looked_up_in_them(vectors, target, ask):
    """Neither their names nor their order matter: the parameters of forward say which side is which."""

    class Listed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = torch.nn.ModuleList(torch.nn.Embedding.from_pretrained(torch.from_numpy(each)) for each in vectors[::-1])

        def forward(self, product_id, user_id):
            return (self.tables[1](user_id) * self.tables[0](product_id)).sum(1)

    export_model(Listed(), target)

    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == ask(target, range(40), 3)[0].tolist()


def test_parameters_that_no_name_tells_apart_are_listed(vectors, target):
    """The options name parameters of forward."""

    class Terse(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p, self.q = (torch.nn.Embedding.from_pretrained(torch.from_numpy(each)) for each in vectors)

        def forward(self, u, i):
            return (self.p(u) * self.q(i)).sum(1)

    with pytest.raises(ExportRefused, match=r"parameters of forward are: u, i"):
        export_model(Terse(), target)
    assert export_model(Terse(), target, user_input="u", item_input="i").users == 40


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (torch.nn.EmbeddingBag(40, 8), "EmbeddingBag"),
        (torch.nn.Embedding(40, 8, max_norm=1.0), "max_norm"),
        (torch.nn.Embedding(40, 8, dtype=torch.bfloat16), "bfloat16"),
    ],
)
def test_embeddings_whose_rows_are_not_what_is_scored_are_refused(part, message, vectors, target):
    """Bags, tables that change on lookup, and half precision."""
    model = torch_model(*vectors)
    model.people = part

    with pytest.raises(ExportRefused, match=message):
        export_model(model, target)


def test_a_forward_that_fails_is_reported_in_a_sentence(vectors, target):
    """With the framework's own reason."""

    def fails(module, left, right):
        raise RuntimeError("no such kernel")

    with pytest.raises(ExportRefused, match="no such kernel"):
        export_model(torch_model(*vectors, score=fails), target)


def test_more_than_one_score_a_pair_is_refused(vectors, target):
    """A matrix of all against all is no score of pairs."""
    with pytest.raises(ExportRefused, match="one score per pair"):
        export_model(torch_model(*vectors, score=lambda _module, left, right: left @ right.T), target)


def test_a_state_dict_needs_the_code_that_builds_its_module(architecture, state, vectors, target, ask):
    """With --architecture it is exported, its digest in the manifest; without, the message says what is missing."""
    with pytest.raises(ExportRefused, match="--architecture"):
        export_model(state, target)

    export_model(state, target, architecture=f"{architecture}:Films")

    assert hashlib.sha256(state.read_bytes()).hexdigest() == open_bundle(target).manifest.source["file_digest"]
    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == ask(target, range(40), 3)[0].tolist()


def test_a_checkpoint_around_a_state_dict_is_opened(architecture, state, tmp_path, target):
    """As trainers write them, with an epoch beside the weights and the prefix of a parallel wrapper."""
    weights = {f"module.{name}": value for name, value in torch.load(state).items()}
    torch.save({"epoch": 3, "model_state_dict": weights}, tmp_path / "checkpoint.pth")

    assert export_model(tmp_path / "checkpoint.pth", target, architecture=f"{architecture}:Films").users == 40


@pytest.mark.parametrize(
    ("callable_name", "message"),
    [
        ("films_architecture", "package.module:callable"),
        ("nowhere_to_be_found:Films", "nowhere_to_be_found"),
        ("films_architecture:Absent", "Absent"),
        ("films_architecture:needs_an_argument", "no arguments"),
        ("films_architecture:no_module", "not a torch.nn.Module"),
        ("torch.nn:Identity", "doesn't fit"),
    ],
)
def test_an_architecture_that_builds_nothing_fitting_is_refused(callable_name, message, architecture, state, target):
    """Each mistake has its own sentence."""
    with pytest.raises(ExportRefused, match=message):
        export_model(state, target, architecture=callable_name)


def test_a_whole_pickled_module_is_refused_with_the_reason(tmp_path, target):
    """Loading one runs code from the file, so it is never loaded; damaged files are refused alike."""
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return type(trap).touch, (trap,)

    torch.save(torch.nn.Embedding(4, 2), tmp_path / "whole.pt")
    torch.save(Trap(), tmp_path / "trapped.pt")
    (tmp_path / "broken.pt").write_bytes(b"junk")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-100])

    for name in ("whole.pt", "trapped.pt", "broken.pt", "cut.pt"):
        with pytest.raises(ExportRefused, match="would run code"):
            export_model(tmp_path / name, target, architecture="torch.nn:Identity")
    assert not trap.exists()
