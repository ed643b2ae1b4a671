"""The contract: what every exported model owes its users, whatever it was made with. A new kind is one more line in `MODELS`.

Each test sends requests over HTTP and compares the responses with `tests.oracle`, a float64 brute force over the model's weights.
Each retrieval path is tested alike; there are enough items for the graphs to prove rankings of up to 16.
"""

import numpy as np
import pytest

from recoserve.scheduling.loader import load_model
from recoserve_export import export_model
from tests.export.models import keras_model, random_tables, torch_model
from tests.oracle.compare import findings
from tests.oracle.requests import ENDPOINTS, Requests
from tests.oracle.world import MAX_K, MAX_LIST_IDS, EmbeddingTables, World
from tests.searches import SEARCHES, searches_by, searching_by
from tests.web.http import Application, assert_problem, item_ids

USERS, ITEMS = 40, 9000
USER_IDS, ITEM_IDS = [100 + 3 * row for row in range(USERS)], [7 * row - 50 for row in range(ITEMS)]
ROWS = {external: row for row, external in enumerate(ITEM_IDS)}
NAME = "contract"
REQUESTS = 8  # to each endpoint
TIE = 2e-6
GENRES = ["Comedy", "Drama", "Western", "Noir", "Épopée"]


def cosine(users, items):
    return {"tables": EmbeddingTables(users, items, cosine=True)}


def dot(users, items):
    return {"tables": EmbeddingTables(users, items, cosine=False)}


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


class Squashed(EmbeddingTables):
    """Scores behind a sigmoid, whose float32 makes equal what wasn't before it; items are ranked by the products before it."""

    def scores(self, query):
        return sigmoid(super().scores(query))


def squashed(users, items):
    return {"tables": Squashed(users, items, cosine=False)}


HIDDEN = np.random.default_rng(7).normal(size=(8, 16)), np.random.default_rng(8).normal(size=8)  # of a small MLP over 8 + 8 numbers
HEIGHT = np.random.default_rng(9).normal(size=8)  # of an item's bias


def mlp(users, items):
    (weight, out), width = HIDDEN, users.shape[1]
    before = (users @ weight[:, :width].T)[:, None, :] + (items @ weight[:, width:].T)[None]
    return {"forward": list(sigmoid(np.maximum(before, 0) @ out)).__getitem__}


def mlp_module(users, items):
    import torch

    weight, out = (torch.tensor(array, dtype=torch.float32) for array in HIDDEN)

    def score(module, user_vectors, item_vectors):
        return torch.sigmoid(torch.relu(torch.cat([user_vectors, item_vectors], -1) @ module.weight.T) @ module.out)

    return torch_model(users, items, score, weight=torch.nn.Parameter(weight), out=torch.nn.Parameter(out))


def biased(users, items):
    """The item's bias as one column more, the first, which is 1 for every user."""
    return {"tables": EmbeddingTables(np.insert(users, 0, 1, axis=1), np.insert(items, 0, items @ HEIGHT, axis=1), cosine=False)}


def biased_module(users, items):
    import torch

    def score(module, user_vectors, item_vectors):
        return (user_vectors * item_vectors).sum(-1) + item_vectors @ module.height

    return torch_model(users, items, score, height=torch.nn.Parameter(torch.tensor(HEIGHT, dtype=torch.float32)))


def saved_keras(users, items, folder):
    keras_model(users, items).save(folder / "model.keras")
    return folder / "model.keras"


def saved_npy(users, items, folder):
    paths = folder / "users.npy", folder / "items.npy"
    for path, table in zip(paths, (users, items), strict=True):
        np.save(path, table)
    return paths


# name -> (the model of two tables and a folder, its similarity, the oracle's scores of the tables)
MODELS = {
    "tables, cosine": (lambda users, items, _: (users, items), "cosine", cosine),
    "tables, dot": (lambda users, items, _: (users, items), "dot", dot),
    ".npy files": (saved_npy, "cosine", cosine),
    "live Keras model": (lambda users, items, _: keras_model(users, items, normalize=True), "cosine", cosine),
    ".keras file": (saved_keras, "cosine", cosine),
    "Keras model's own sigmoid": (lambda users, items, _: keras_model(users, items, squash=True), "model", squashed),
    "live PyTorch module": (lambda users, items, _: torch_model(users, items), "cosine", cosine),
    "PyTorch module, dot": (lambda users, items, _: torch_model(users, items), "dot", dot),
    "a bias beside the product": (lambda users, items, _: biased_module(users, items), "model", biased),
    "MLP over both vectors": (lambda users, items, _: mlp_module(users, items), "model", mlp),
}


@pytest.fixture(scope="module", params=list(MODELS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    return MODELS[kind]


@pytest.fixture(scope="module")
def tables():
    return random_tables(USERS, ITEMS)


def metadata(row):
    """Every type of column, with gaps, lists and values that a single item has."""
    fields = {"title": f"Item {row}", "year": 1900 + row % 125, "classic": row % 5 == 0}
    if row % 3:
        fields["genres"] = [GENRES[row % 5], *GENRES[: row % 2]]
    return fields


@pytest.fixture(scope="module")
def world(tables, model):
    """What the oracle knows; users 0 and 1 have seen nothing."""
    rng, exact = np.random.default_rng(1), [table.astype(np.float64) for table in tables]
    seen = [np.unique(rng.integers(0, ITEMS, 5 * max(user - 1, 0))) for user in range(USERS)]
    items = [metadata(row) for row in range(ITEMS)]
    return World(NAME, "integer", USER_IDS, ITEM_IDS, items, seen, **model[2](*exact))


@pytest.fixture(scope="module")
def bundle(tables, model, world, tmp_path_factory):
    make, similarity, _ = model
    folder = tmp_path_factory.mktemp("contract")
    pairs = np.repeat(np.arange(USERS), [len(rows) for rows in world.seen]), np.concatenate(world.seen)
    ids = {"user_ids": USER_IDS, "item_ids": ITEM_IDS}
    files = {"items": world.metadata, "interactions": pairs, "name": NAME}
    export_model(make(*tables, folder), folder / NAME / "1", similarity=similarity, **ids, **files)
    return folder / NAME / "1"


@pytest.fixture(scope="module", params=SEARCHES)
def search(request):
    return request.param


@pytest.fixture(scope="module")
def service(bundle, search):
    with (
        searching_by(search) as retrieval,
        Application(lambda: load_model(bundle, retrieval=retrieval), max_k=MAX_K, max_list_ids=MAX_LIST_IDS) as application,
    ):
        yield application.wait_ready()


def test_the_service_takes_the_retrieval_path_that_is_set(service, world, search):
    """A model without vectors has one path only."""
    expected = search if world.tables else "plain"
    assert searches_by(service.registry.current(), expected)
    assert service.get("/model").json()["retrieval"] == ("plain" if expected == "plain" else "exact")


def assert_top(response, expected, k):
    """Equal to the brute force, ties aside; `expected` is float64 [N]."""
    rows = [ROWS[item_id] for item_id in item_ids(response)]
    best = np.sort(expected)[::-1][:k]
    assert len(rows) == len(set(rows)) == len(best)
    np.testing.assert_allclose(expected[rows], best, rtol=1e-6, atol=TIE)
    np.testing.assert_allclose([item["score"] for item in response.json()["items"]], best, rtol=1e-5, atol=1e-5)


def test_top_k_of_every_user_is_the_brute_force(service, world):
    for user in range(USERS):
        assert_top(service.recommend(user_id=USER_IDS[user], k=10), world.scores(user), 10)


def test_k_beyond_the_catalogue_gives_all_of_it(service, world):
    assert_top(service.recommend(user_id=USER_IDS[0], k=ITEMS + 5), world.scores(0), ITEMS)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_random_mixtures_of_options_are_the_brute_force(service, world, kind, endpoint):
    """Right requests and wrong ones; where a model without vectors can't answer, the response is a problem."""
    stream = Requests({NAME: world}, NAME, seed=10 * list(MODELS).index(kind) + list(ENDPOINTS).index(endpoint))
    for _ in range(REQUESTS):
        _, body = stream.draw(NAME, endpoint)
        response = service.request("POST", endpoint, json=body)
        wrong = findings({NAME: world}, NAME, endpoint, body, response.status_code, response.json())
        if isinstance(world.tables, Squashed):
            wrong = [finding for finding in wrong if not finding.endswith("equal scores that are not in row order")]
        assert not wrong, str(body)[:1000]


VECTORS_NEEDED = {
    "history": ("/recommend/history", {"item_ids": ITEM_IDS[:2]}),
    "similar items": ("/similar/items", {"item_id": ITEM_IDS[1]}),
    "similar users": ("/similar/users", {"user_id": USER_IDS[1]}),
    "explain": ("/explain", {"user_id": USER_IDS[5], "item_id": ITEM_IDS[1]}),
    "diversity": ("/recommend", {"user_id": USER_IDS[5], "diversity": 0.5}),
    "explanation": ("/recommend", {"user_id": USER_IDS[5], "include": ["explanation"]}),
    "diversity in a batch": ("/recommend/batch", {"user_ids": USER_IDS[:2], "diversity": 0.5}),
    "explanation in a batch": ("/recommend/batch", {"user_ids": USER_IDS[:2], "include": ["explanation"]}),
}


@pytest.mark.parametrize("case", VECTORS_NEEDED)
def test_a_model_without_vectors_says_so_where_they_are_needed(service, world, case):
    endpoint, body = VECTORS_NEEDED[case]
    response = service.request("POST", endpoint, json=body)

    if world.tables:
        assert response.status_code == 200
    else:
        assert "needs item vectors, and this model has none" in assert_problem(response, 422, "invalid-request")["detail"]


def test_the_same_request_has_the_same_response(service):
    assert len({service.recommend(user_id=USER_IDS[3], k=ITEMS).text for _ in range(5)}) == 1


@pytest.mark.parametrize("user", [-1, 0, 101, 2**63])
def test_an_unknown_id_is_refused(service, user):
    assert_problem(service.recommend(user_id=user), 422, "unknown-id", "/user_id")
