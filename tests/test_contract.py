"""The contract: what every exported model owes its users, whatever it was made with. A new kind is one more line in `MODELS`.

Each test asks through HTTP and knows the answer from a float64 brute force over the weights that went in. Each way of retrieval
is asked alike; the catalogue is large enough for the screen to prove answers of up to 16 items.
"""

import numpy as np
import pytest

from model_export import export_model
from service.bundle import archive
from service.engine import loading
from tests.model_export.models import keras_model, random_tables, torch_model
from tests.service.http import Application, assert_problem, item_ids

USERS, ITEMS = 40, 9000
MOST_K = 60  # asked for in random mixtures
TIE = 2e-6


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def dot(users, items):
    return users @ items.T


def cosine(users, items):
    return dot(*(table / np.linalg.norm(table, axis=1, keepdims=True) for table in (users, items)))


HIDDEN = np.random.default_rng(7).normal(size=(8, 16)), np.random.default_rng(8).normal(size=8)  # of a small MLP over 8 + 8 numbers
HEIGHT = np.random.default_rng(9).normal(size=8)  # of an item's bias


def mlp(users, items):
    (weight, out), width = HIDDEN, users.shape[1]
    before = (users @ weight[:, :width].T)[:, None, :] + (items @ weight[:, width:].T)[None]
    return sigmoid(np.maximum(before, 0) @ out)


def mlp_module(users, items):
    import torch

    weight, out = (torch.tensor(each, dtype=torch.float32) for each in HIDDEN)

    def score(module, left, right):
        return torch.sigmoid(torch.relu(torch.cat([left, right], -1) @ module.weight.T) @ module.out)

    return torch_model(users, items, score, weight=torch.nn.Parameter(weight), out=torch.nn.Parameter(out))


def biased(users, items):
    return dot(users, items) + items @ HEIGHT


def biased_module(users, items):
    import torch

    def score(module, left, right):
        return (left * right).sum(-1) + right @ module.height

    return torch_model(users, items, score, height=torch.nn.Parameter(torch.tensor(HEIGHT, dtype=torch.float32)))


def saved_keras(users, items, folder):
    keras_model(users, items).save(folder / "model.keras")
    return folder / "model.keras"


def saved_npy(users, items, folder):
    paths = folder / "users.npy", folder / "items.npy"
    for path, table in zip(paths, (users, items), strict=True):
        np.save(path, table)
    return paths


# name -> (how to make it from two tables and a folder, similarity, every user's score of every item, in float64)
MODELS = {
    "tables, cosine": (lambda users, items, _: (users, items), "cosine", cosine),
    "tables, dot": (lambda users, items, _: (users, items), "dot", dot),
    ".npy files": (saved_npy, "cosine", cosine),
    "live Keras model": (lambda users, items, _: keras_model(users, items, normalize=True), "cosine", cosine),
    ".keras file": (saved_keras, "cosine", cosine),
    "Keras model's own sigmoid": (
        lambda users, items, _: keras_model(users, items, squash=True),
        "model",
        lambda users, items: sigmoid(dot(users, items)),
    ),
    "live PyTorch module": (lambda users, items, _: torch_model(users, items), "cosine", cosine),
    "PyTorch module, dot": (lambda users, items, _: torch_model(users, items), "dot", dot),
    "a bias beside the product": (lambda users, items, _: biased_module(users, items), "model", biased),
    "MLP over both vectors": (lambda users, items, _: mlp_module(users, items), "model", mlp),
}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def tables():
    return random_tables(USERS, ITEMS)


@pytest.fixture(scope="module")
def bundle(tables, model, tmp_path_factory):
    make, similarity, _ = model
    folder = tmp_path_factory.mktemp("contract")
    rng = np.random.default_rng(1)
    seen = rng.integers(0, USERS, 200), rng.integers(0, ITEMS, 200)
    export_model(make(*tables, folder), folder / "model" / "1", similarity=similarity, interactions=seen)
    return folder / "model" / "1"


@pytest.fixture(scope="module", params=["exact", "plain"])
def retrieval(request):
    return request.param


@pytest.fixture(scope="module")
def service(bundle, retrieval):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "WORTH_SCREENING", 0)  # it starts where it pays, which is later than these tests can wait for
        with Application(lambda: loading.load_model(bundle, retrieval=retrieval), max_k=ITEMS + 5) as application:
            yield application.wait_ready()


def test_it_is_the_retrieval_asked_for(service, retrieval):
    """A model without vectors has but one way."""
    found = service.get("/model").json()
    assert found["retrieval"] == (retrieval if found["dim"] else "plain")


@pytest.fixture(scope="module")
def scores(tables, model):
    """float64 [U, N], written apart from the engine."""
    _, _, scores_of = model
    return scores_of(*(table.astype(np.float64) for table in tables))


def assert_top(response, expected, k):
    """Equal to the brute force, ties aside; `expected` is float64 [N] with what may not come at -inf."""
    rows = item_ids(response)
    best = np.sort(expected)[::-1]
    best = best[np.isfinite(best)][:k]
    assert len(rows) == len(set(rows)) == len(best)
    np.testing.assert_allclose(expected[rows], best, rtol=1e-6, atol=TIE)
    np.testing.assert_allclose([item["score"] for item in response.json()["items"]], best, rtol=1e-5, atol=1e-5)


def test_top_k_of_every_user_is_the_brute_force(service, scores):
    for user in range(USERS):
        assert_top(service.recommend(user_id=user, k=10), scores[user], 10)


def test_k_beyond_the_catalogue_gives_all_of_it(service, scores):
    assert_top(service.recommend(user_id=0, k=ITEMS + 5), scores[0], ITEMS)


def test_random_mixtures_of_options_are_the_brute_force(service, scores, bundle):
    rng, seen = np.random.default_rng(2), archive.open_bundle(bundle).seen
    for _ in range(60):
        user, k = int(rng.integers(USERS)), int(rng.integers(1, MOST_K))
        body = {
            "user_id": user,
            "k": k,
            "exclude_seen": bool(rng.integers(2)),
            "exclude_item_ids": rng.integers(0, ITEMS, 9).tolist(),
        }
        allowed = scores[user].copy()
        if rng.integers(2):
            body["candidate_item_ids"] = rng.integers(0, ITEMS, 20).tolist()
            allowed[np.setdiff1d(np.arange(ITEMS), body["candidate_item_ids"])] = -np.inf
        allowed[body["exclude_item_ids"]] = -np.inf
        if body["exclude_seen"]:
            allowed[seen.of(user)] = -np.inf
        assert_top(service.recommend(body), allowed, k)


def test_the_same_question_has_the_same_answer(service):
    assert len({service.recommend(user_id=3, k=ITEMS).text for _ in range(5)}) == 1


@pytest.mark.parametrize("user", [-1, USERS, 2**63])
def test_an_id_outside_is_refused(service, user):
    assert_problem(service.recommend(user_id=user), 422, "id-out-of-range", "/user_id")
