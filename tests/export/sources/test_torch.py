"""PyTorch models of any shape, live and as files: of weights with the code that builds them, or of code."""

import hashlib
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recoserve.bundle.archive import open_bundle
from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.network import GraphSource, Input
from recoserve_export.graph.program import Program
from recoserve_export.sources.torch import from_module, load
from recoserve_export.sources.torch_call import find_call
from tests.export.models import brute_force, torch_model

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
        (lambda _module, users, items: (users * items).sum(-1), "dot"),
        (lambda _module, users, items: torch.sigmoid((users * items).sum(-1, keepdim=True)), "sigmoid(dot)"),
        (lambda _module, users, items: torch.nn.functional.cosine_similarity(users, items), "cosine"),
        (lambda _module, users, items: torch.sigmoid(torch.cosine_similarity(users, items)), "sigmoid(cosine)"),
    ],
)
def test_the_formula_of_a_modules_score_is_recognised(score, formula, vectors, target, top_k):
    """Four formulas are known; similarity `model` serves the one that the module computes."""
    report = export_model(torch_model(*vectors, score=score), target, similarity="model")

    assert formula == report.formula
    rows, scores = top_k(target, range(40), 5)
    assert brute_force(*vectors, 5, cosine="cosine" in formula)[1].tolist() == rows.tolist()
    users, items = torch.from_numpy(vectors[0])[:, None], torch.from_numpy(vectors[1])[rows]
    assert np.allclose(
        score(None, *(table.reshape(200, 8) for table in torch.broadcast_tensors(users, items))).reshape(40, 5), scores
    )


def forward_order(model, k):
    """Each user's k best of 60 items by the module's own forward."""
    users, items = torch.arange(40).repeat_interleave(60), torch.arange(60).repeat(40)
    with torch.no_grad():
        scores = model.eval()(users, items).reshape(40, 60).numpy()
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()


@pytest.mark.parametrize(
    ("score", "dim"),
    [
        (lambda _module, users, items: (users * items).sum(-1) + 0.1, 8),
        (lambda module, users, items: module.head(users * items).squeeze(-1), 8),
        (lambda module, users, items: torch.sigmoid(module.deep(torch.cat([users, items], 1)).squeeze(1)), None),
    ],
    ids=["bias", "weighted", "mlp"],
)
def test_any_other_score_is_served_as_the_model_computes_it(score, dim, vectors, target, top_k):
    """A score that comes to one dot product is served as vectors, any other as a graph; the ranking is that of forward."""
    torch.manual_seed(0)
    deep = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    model = torch_model(*vectors, score=score, head=torch.nn.Linear(8, 1), deep=deep)

    report = export_model(model, target, similarity="model")

    assert (report.dim, report.similarity) == (dim, "model")
    assert forward_order(model, 5) == top_k(target, range(40), 5)[0].tolist()


def test_bias_tables_are_part_of_the_score(vectors, target, top_k):
    """As in matrix factorisation, with one more number for each user and each item."""

    class Biased(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p, self.q = (torch.nn.Embedding.from_pretrained(torch.from_numpy(table)) for table in vectors)
            self.b, self.c = torch.nn.Embedding(40, 1), torch.nn.Embedding(60, 1)

        def forward(self, user, item):
            return (self.p(user) * self.q(item)).sum(1) + self.b(user).squeeze(1) + self.c(item).squeeze(1)

    torch.manual_seed(0)
    model = Biased()

    export_model(model, target, similarity="model")

    assert forward_order(model, 5) == top_k(target, range(40), 5)[0].tolist()


def test_tables_that_are_plain_parameters_are_looked_up_like_embeddings(vectors, target, top_k):
    """`self.P[user]`, as matrix factorisation is written by hand; a parallel wrapper around it is looked through."""

    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p, self.q = (torch.nn.Parameter(torch.from_numpy(table.copy())) for table in vectors)

        def forward(self, user, item):
            return (self.p[user] * self.q[item]).sum(1)

    report = export_model(torch.nn.DataParallel(Bare()), target, similarity="dot")

    assert (report.users, report.items, report.formula) == (40, 60, "dot")
    assert brute_force(*vectors, 3)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


class Film(torch.nn.Module):
    """A user, a book and what `third` makes of a third input, side by side, in front of one layer."""

    def __init__(self, third: torch.nn.Module, width: int):
        super().__init__()
        torch.manual_seed(0)
        self.users, self.books, self.third = torch.nn.Embedding(40, 3), torch.nn.Embedding(60, 3), third
        self.layer = torch.nn.Linear(6 + width, 1)

    def forward(self, user, book, genre):
        return self.layer(torch.cat([self.users(user), self.books(book), self.third(genre)], 1)).squeeze(1)


class Column(torch.nn.Module):
    """A number a row, as a column."""

    def forward(self, genre):
        return genre.unsqueeze(1)


class Pooled(torch.nn.Module):
    """The mean of as many vectors as there are codes in a row."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(18, 2)

    def forward(self, genre):
        return self.table(genre).mean(1)


@pytest.mark.parametrize(
    ("third", "width", "dtype", "shape"),
    [
        (torch.nn.Embedding(5, 2), 2, "int64", ()),
        (Column(), 1, "float32", ()),
        (torch.nn.Identity(), 1, "float32", (1,)),
        (torch.nn.Linear(18, 2), 2, "float32", (18,)),
    ],
    ids=["codes", "number", "column", "many"],
)
def test_the_dtype_and_shape_of_a_feature_are_found_by_trying(third, width, dtype, shape):
    """It takes numbers where it can, so that none is cut to a whole one, and codes otherwise; one value a row or several."""
    call = find_call(torch, Film(third, width), None, None, {})

    assert (call.user, call.item) == ("user", "book")
    assert call.inputs == {name: Input(name, np.dtype(np.int64)) for name in ("user", "book")} | {
        "genre": Input("genre", np.dtype(dtype), shape)
    }


def test_a_feature_of_any_width_is_as_wide_as_its_values():
    """The module doesn't say how many codes a row has, so that it is refused unless the caller does."""
    with pytest.raises(ExportRefused, match="any number of values a row for 'genre'"):
        find_call(torch, Film(Pooled(), 2), None, None, {})

    assert find_call(torch, Film(Pooled(), 2), None, None, {"genre": 4}).inputs["genre"] == Input("genre", np.dtype(np.int64), (4,))


@pytest.fixture(scope="module")
def film():
    return Film(torch.nn.Linear(18, 2), 2)


def test_a_traced_module_scores_as_forward_does(film):
    """Its graph and its forward give the same scores; the weights are the module's own memory, and its mode is restored."""
    source = from_module(film)

    assert (source.user, source.item, source.features) == ("user", "book", ("genre",))
    assert np.shares_memory(source.network.constants["users.weight"], film.users.weight.detach().numpy())
    assert film.training
    values = {"user": np.array([0, 39, 5]), "book": np.array([59, 0, 7]), "genre": np.eye(18)[:3]}
    batches = {name: source.network.inputs[name].batch(array) for name, array in values.items()}
    dtypes = {name: declared.dtype for name, declared in source.network.inputs.items()}
    program = Program(source.network.nodes, source.network.constants, dtypes, [source.network.output], source.network.opset)
    assert np.allclose(program.run(batches)[0].reshape(-1), source.scores(values), rtol=1e-5, atol=1e-6)
    expected = film(*(torch.from_numpy(batches[name]) for name in ("user", "book", "genre")))
    assert np.allclose(expected.detach().numpy(), source.scores(values), rtol=1e-6)


def test_tracing_prints_nothing(film, capfd):
    """The exporter's warnings and log lines would mean nothing to a user."""
    from_module(film)

    assert capfd.readouterr() == ("", "")


def test_a_feature_is_an_item_feature_under_its_own_name(vectors, target, top_k):
    """From a live module to a bundle: one value for each item."""
    film = Film(torch.nn.Embedding(5, 2), 2)
    genres = np.arange(60) % 5

    export_model(film, target, item_features={"genre": genres})

    scores = [film(torch.full((60,), user), torch.arange(60), torch.from_numpy(genres)) for user in range(40)]
    expected = torch.stack(scores).argsort(dim=1, descending=True)[:, :3]
    assert expected.tolist() == top_k(target, range(40), 3)[0].tolist()


def test_an_input_that_changes_nothing_is_refused(vectors, target):
    """Either forward is wrong, or the input isn't needed."""
    model = Film(torch.nn.Embedding(5, 2), 2)
    model.third.forward = lambda genre: torch.zeros(len(genre), 2)

    with pytest.raises(ExportRefused, match="doesn't depend on the model's input 'genre'"):
        export_model(model, target, item_features={"genre": np.zeros(60, np.int64)})


def test_a_forward_that_branches_on_values_is_refused_with_torchs_reason(vectors):
    """The message has one line of it."""
    model = torch_model(*vectors, score=lambda _m, users, items: (users * items).sum(1) * (2 if users.sum() > 0 else 3))

    with pytest.raises(ExportRefused, match=r"torch.onnx.export can't read the module: \w+: .*") as refusal:
        from_module(model)
    assert "\n" not in str(refusal.value)


def test_a_compiled_module_is_read_as_it_was_written(vectors):
    """Nothing is compiled for it, in place or around it."""
    compiled = []

    def backend(graph, _examples):
        compiled.append(graph)
        return graph.forward

    inside = torch_model(*vectors, score=lambda _module, users, items: (users * items).sum(-1) + 1)
    inside.compile(backend=backend)
    around = torch.compile(torch_model(*vectors), backend=backend)

    assert isinstance(from_module(inside), GraphSource)
    assert isinstance(from_module(around), DotSource)
    assert compiled == []


def test_a_forward_of_one_argument_is_refused():
    """Where pairs are columns of one tensor, the user can't be taken apart from the item."""
    with pytest.raises(ExportRefused, match=r"takes 'input' alone.*forward\(user, item\)"):
        from_module(torch.nn.Linear(2, 1))


def test_two_outputs_are_refused(vectors):
    """A score is one tensor."""
    with pytest.raises(ExportRefused, match="gives a tuple of 2; it must give one tensor"):
        from_module(torch_model(*vectors, score=lambda _module, users, items: (users, items)))


def test_a_dot_product_of_different_widths_is_refused_before_anything_heavy_runs(target):
    """The message has the widths first, then torch's own reason."""

    class Uneven(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.item_embedding = torch.nn.Embedding(9, 32)
            self.user_embedding = torch.nn.Embedding(7, 64)

        def forward(self, user, item):
            return (self.user_embedding(user) * self.item_embedding(item)).sum(1)

    with pytest.raises(
        ExportRefused, match=r"'user_embedding' is 64 wide, item table 'item_embedding' 32.*size of tensor a \(64\)"
    ):
        export_model(Uneven(), target)


def test_the_module_comes_back_as_it_was(vectors, target):
    """The mode of every submodule, gradients and weights are untouched, and dropout plays no part in the score."""
    dropout = torch.nn.Dropout(0.5)
    model = torch_model(*vectors, score=lambda module, users, items: module.dropout((users * items).sum(-1)), dropout=dropout)
    model.things.eval()

    export_model(model, target, similarity="model")

    assert (model.training, model.dropout.training, model.things.training) == (True, True, False)
    assert model.people.weight.grad is None
    assert not model.people._forward_pre_hooks
    assert np.array_equal(vectors[0], model.people.weight.detach().numpy())


def test_embeddings_are_assigned_by_what_is_looked_up_in_them(vectors, target, top_k):
    """Neither their names nor their order matter: the parameters of forward say which side is which."""

    class Listed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = torch.nn.ModuleList(
                torch.nn.Embedding.from_pretrained(torch.from_numpy(table)) for table in vectors[::-1]
            )

        def forward(self, product_id, user_id):
            return (self.tables[1](user_id) * self.tables[0](product_id)).sum(1)

    export_model(Listed(), target)

    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


def test_parameters_with_other_names_are_listed_in_a_refusal(vectors, target):
    """The options name parameters of forward."""

    class Terse(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p, self.q = (torch.nn.Embedding.from_pretrained(torch.from_numpy(table)) for table in vectors)

        def forward(self, u, i):
            return (self.p(u) * self.q(i)).sum(1)

    with pytest.raises(ExportRefused, match=r"parameters of forward are: u, i"):
        export_model(Terse(), target)
    assert export_model(Terse(), target, user_input="u", item_input="i").users == 40


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (torch.nn.Embedding(40, 8, max_norm=1.0), "max_norm"),
        (torch.nn.Embedding(40, 8, dtype=torch.bfloat16), "bfloat16"),
    ],
)
def test_embeddings_whose_rows_are_not_what_is_scored_are_refused(part, message, vectors, target):
    """Tables that change on lookup, and tables of half precision."""
    model = torch_model(*vectors)
    model.people = part

    with pytest.raises(ExportRefused, match=message):
        export_model(model, target)


def test_a_forward_that_fails_is_refused(vectors, target):
    """The message has the module's own reason."""

    def fails(module, users, items):
        raise RuntimeError("no such kernel")

    with pytest.raises(ExportRefused, match="no such kernel"):
        export_model(torch_model(*vectors, score=fails), target)


def test_more_than_one_score_a_pair_is_refused(vectors, target):
    """A matrix of all against all is no score of pairs."""
    with pytest.raises(ExportRefused, match="one score per pair"):
        export_model(torch_model(*vectors, score=lambda _module, users, items: users @ items.T), target)


def test_a_state_dict_needs_the_code_that_builds_its_module(architecture, state, vectors, target, top_k):
    """With --architecture it is exported, its digest in the manifest; without, the message says what is missing."""
    with pytest.raises(ExportRefused, match="--architecture"):
        export_model(state, target)

    export_model(state, target, architecture=f"{architecture}:Films")

    assert hashlib.sha256(state.read_bytes()).hexdigest() == open_bundle(target).manifest.source["file_digest"]
    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


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
    """Each with a message of its own."""
    with pytest.raises(ExportRefused, match=message):
        export_model(state, target, architecture=callable_name)


def test_weights_of_safetensors_go_with_an_architecture(architecture, vectors, tmp_path, target, top_k):
    """Without one, such a file is two tables."""
    weights = {"user.weight": torch.from_numpy(vectors[0]), "film.weight": torch.from_numpy(vectors[1])}
    save_file(weights, tmp_path / "films.safetensors")

    export_model(tmp_path / "films.safetensors", target, architecture=f"{architecture}:Films")

    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The same module in each of the files that run code: pickled whole, as TorchScript, as a program of torch.export."""
    folder, film = tmp_path_factory.mktemp("code"), Film(torch.nn.Embedding(5, 2), 2).eval()
    rows = {name: torch.arange(3) + offset for offset, name in enumerate(("user", "book", "genre"))}
    axes = {name: {0: torch.export.Dim.DYNAMIC} for name in rows}
    torch.save(film, folder / "pickled.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(film, tuple(rows.values())).save(folder / "script.pt")
        torch.export.save(torch.export.export(film, (), rows, dynamic_shapes=axes), folder / "program.pt2")
    return folder, film


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("pickled.pt", "holds a pickled tests.export.sources.test_torch.Film"),
        ("script.pt", "is a TorchScript archive"),
        ("program.pt2", "is a program of torch.export"),
    ],
)
def test_a_file_that_runs_code_is_loaded_only_with_trust(file, what, code, target):
    """The message says what it is and why that matters; trusted, it is exported like any other."""
    folder, film = code
    with pytest.raises(ExportRefused, match=f"{what}.*run code from the file.*--trust"):
        export_model(folder / file, target)

    source = load(folder / file, None, trust=True)

    assert (source.user, source.item, source.features) == ("user", "book", ("genre",))
    assert source.name == file.split(".")[0]
    values = {"user": np.array([39, 1]), "book": np.array([2, 59]), "genre": np.array([4, 0])}
    expected = film(*(torch.from_numpy(values[name]) for name in ("user", "book", "genre")))
    assert np.allclose(expected.detach().numpy(), source.scores(values), rtol=1e-5, atol=1e-6)


def test_a_malicious_pickle_is_refused_without_being_run(tmp_path, target):
    """Whatever archive it looks like; damaged files are refused as well."""
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return type(trap).touch, (trap,)

    torch.save(Trap(), tmp_path / "trapped.pt")
    torch.save({"state_dict": {"weight": Trap()}}, tmp_path / "wrapped.pth")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    (tmp_path / "broken.pt").write_bytes(b"junk")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "trapped.pt").read_bytes()[:-100])
    for name, entry in (("script.pt", "m/constants.pkl"), ("program.pt2", "m/archive_format")):
        (tmp_path / name).write_bytes((tmp_path / "trapped.pt").read_bytes())
        with zipfile.ZipFile(tmp_path / name, "a") as archive:
            archive.writestr(entry, pickle.dumps(Trap(), protocol=2))

    for name in ("trapped.pt", "wrapped.pth", "bare.pt", "broken.pt", "cut.pt", "script.pt", "program.pt2"):
        with pytest.raises(ExportRefused, match="would run code"):
            export_model(tmp_path / name, target, architecture="torch.nn:Identity" if name != "program.pt2" else None)
    assert not trap.exists()


@pytest.mark.parametrize("body", [b"junk", b"PK\x05\x06" + bytes(18)], ids=["junk", "empty archive"])
def test_a_trusted_file_that_can_not_be_loaded_is_refused(body, tmp_path, target):
    """Trust doesn't mend a damaged file."""
    (tmp_path / "broken.pt").write_bytes(body)

    with pytest.raises(ExportRefused, match="can't be loaded"):
        export_model(tmp_path / "broken.pt", target, trust=True)
