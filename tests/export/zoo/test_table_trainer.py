"""Both dot models and the ranking loss, on interactions whose pattern is known."""

import math

import numpy as np
import pytest
import torch

from recoserve.errors import ExportRefused, FileInvalid
from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.data.dataset import InteractionPairs, read_dataset
from recoserve_export.zoo.training import table_trainer
from recoserve_export.zoo.training.batches import UserBatch
from recoserve_export.zoo.training.recipe import Recipe
from recoserve_export.zoo.training.run import train_model

BOTH = pytest.mark.parametrize("name", ["keras-dot", "torch-dot"])
SMALL = Recipe(dim=4, epochs=60, learning_rate=0.05, temperature=0.5, batch_size=4)


def unit(table: np.ndarray) -> np.ndarray:
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def fitted(name: str, pairs: InteractionPairs, users: int, items: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    architecture = catalog.load_dot(name)
    tables = architecture.tables(architecture.build(users, items, recipe.dim, seed=recipe.seed))
    table_trainer.fit(*tables, pairs, recipe, lambda *_: None)
    return tuple(table.detach().cpu().numpy() for table in tables)


@BOTH
def test_even_users_rank_every_even_item_before_every_odd_one_and_odd_users_the_reverse(name, even_odd):
    dataset = read_dataset(even_odd / "ratings.csv", even_odd / "items.csv")
    users, items = fitted(name, dataset.pairs, 12, 20, SMALL)

    scores = unit(users) @ unit(items).T
    for user in range(12):
        same, other = scores[user, user % 2 :: 2], scores[user, 1 - user % 2 :: 2]
        assert same.min() > other.max(), user


@BOTH
def test_held_out_items_are_predicted_better_than_by_popularity(name, even_odd):
    trained = train_model(name, read_dataset(even_odd / "ratings.csv", even_odd / "items.csv"), SMALL, 0.25, 4)

    assert trained.metrics.recall == 1.0, "a user's two held-out items are among the four of their kind that they didn't train on"
    assert trained.popularity.recall < 1.0


@BOTH
@pytest.mark.parametrize("normalize", [True, False])
def test_the_model_scores_by_the_tables_that_the_trainer_optimises(name, normalize):
    architecture = catalog.load_dot(name)
    model = architecture.build(5, 7, 3, normalize=normalize, seed=1)
    users, items = (table.detach().cpu().double().numpy() for table in architecture.tables(model))
    user, item = np.divmod(np.arange(35), 7)
    with torch.no_grad():
        rows = [torch.from_numpy(user), torch.from_numpy(item)]
        scores = model(*rows) if name == "torch-dot" else model([numbers[:, None] for numbers in rows])

    expected = (unit(users) @ unit(items).T) if normalize else users @ items.T
    assert expected.ravel() == pytest.approx(scores.cpu().numpy().ravel(), abs=1e-6)


@BOTH
def test_the_same_seed_gives_the_same_tables_and_another_seed_others(name, even_odd):
    pairs = read_dataset(even_odd / "ratings.csv", even_odd / "items.csv").pairs
    first, second, other = (fitted(name, pairs, 12, 20, Recipe(dim=8, epochs=3, batch_size=5, seed=seed)) for seed in (3, 3, 4))

    assert all(np.array_equal(*tables) for tables in zip(first, second, strict=True))
    assert not any(np.array_equal(*tables) for tables in zip(first, other, strict=True))


def test_user_and_item_tables_start_apart():
    users, items = (table.detach().numpy() for table in catalog.load_dot("torch-dot").tables(torch_model()))

    assert not np.array_equal(users, items)


def torch_model():
    return catalog.load_dot("torch-dot").build(6, 6, 4, seed=0)


def test_the_loss_of_equal_scores_is_the_log_of_one_item_against_all_that_the_user_did_not_interact_with():
    logits = torch.zeros(1, 10)
    loss = table_trainer._ranking_loss(logits, torch.tensor([0, 0, 0]), torch.tensor([1, 5, 7]))

    assert math.log(1 + 7) == pytest.approx(float(loss))


def test_a_user_who_interacted_with_every_item_has_no_loss_and_a_finite_gradient():
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = table_trainer._ranking_loss(logits, torch.tensor([0, 0]), torch.tensor([0, 1]))
    loss.backward()

    assert loss.item() == 0.0
    assert torch.isfinite(logits.grad).all()


def test_in_a_large_catalogue_the_weights_of_the_candidates_add_up_to_all_items():
    items = table_trainer.FULL_CATALOGUE * 5
    batch = UserBatch(torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor([3, 99_999, 3]))
    candidates, column, weight = table_trainer._candidates(batch, items, torch.Generator().manual_seed(0))

    assert candidates[column].tolist() == [3, 99_999, 3]
    assert len(candidates) == len(torch.unique(candidates)) <= table_trainer.SAMPLE_SIZE + 2
    assert items == pytest.approx(float(weight.double().exp().sum()), rel=1e-4)
    assert weight[column[:2]].tolist() == [0.0, 0.0]


def test_a_large_catalogue_is_learned_from_a_sample_of_it():
    items = table_trainer.FULL_CATALOGUE + 5
    users = np.repeat(np.arange(6), 4)
    pairs = InteractionPairs(users, users % 2 + 2 * np.tile(np.arange(4), 6))
    user_table, item_table = fitted("torch-dot", pairs, 6, items, Recipe(dim=4, epochs=40, learning_rate=0.05, batch_size=3))

    scores = unit(user_table) @ unit(item_table).T
    for user in range(6):
        assert set(range(user % 2, 8, 2)) <= set(np.argsort(-scores[user])[:40].tolist())


def test_l2_shortens_vectors():
    pairs = InteractionPairs(np.arange(6), np.arange(6))
    free, shortened = (fitted("torch-dot", pairs, 6, 6, Recipe(dim=4, epochs=40, l2=l2)) for l2 in (0.0, 1.0))

    assert np.linalg.norm(shortened[0]) < np.linalg.norm(free[0])
    assert np.linalg.norm(shortened[1]) < np.linalg.norm(free[1])


def test_a_dataset_in_which_nothing_can_be_held_out_is_refused(tmp_path):
    (tmp_path / "ratings.csv").write_text("user,item\n1,1\n2,2\n")
    (tmp_path / "items.csv").write_text("item_id\n1\n2\n")
    with pytest.raises(FileInvalid, match="no user has two interactions"):
        train_model("torch-dot", read_dataset(tmp_path / "ratings.csv", tmp_path / "items.csv"), Recipe(), 0.2, 10)


def test_training_that_diverges_is_refused_with_the_options_to_change(even_odd):
    wild = Recipe(dim=4, epochs=2, temperature=1e-40, similarity="dot")
    with pytest.raises(ExportRefused, match="--temperature"):
        train_model("torch-dot", read_dataset(even_odd / "ratings.csv", even_odd / "items.csv"), wild, 0.2, 10)
