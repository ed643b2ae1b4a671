"""Every architecture that scores pairs: built, trained, ranked by, saved and loaded, on data whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recoserve_export.zoo.architectures import catalog
from recoserve_export.zoo.architectures.widths import genre_width
from recoserve_export.zoo.data.dataset import InteractionPairs, read_dataset
from recoserve_export.zoo.data.genres import read_genres
from recoserve_export.zoo.options import ArchitectureName
from recoserve_export.zoo.training import pair_trainer
from recoserve_export.zoo.training.evaluation import top
from recoserve_export.zoo.training.pair_scores import catalogue_scores
from recoserve_export.zoo.training.recipe import Recipe, default_recipe
from recoserve_export.zoo.training.run import train_model

SCORERS = [name for name in catalog.MODULES if name not in catalog.DOT]
EVERY = pytest.mark.parametrize("name", SCORERS)
QUICK = Recipe(dim=4, epochs=40, learning_rate=0.05, l2=0.0, temperature=1.0, batch_size=4, similarity="model")
USERS, ITEMS, GENRES = 5, 7, 3


def fresh(name: str, seed: int = 0, **options):
    genres = {"genre_count": GENRES} if name in catalog.WITH_GENRES else {}
    return catalog.load_scorer(name).build(USERS, ITEMS, 4, seed=seed, **genres, **options)


def scored(name: str, model, before_sigmoid: bool = False) -> np.ndarray:
    """The model's score of every pair, [users, items]; the genre of item i is i mod 3."""
    user, item = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    genre = [item % GENRES] if name in catalog.WITH_GENRES else []
    rows = [torch.from_numpy(numbers) for numbers in (user, item, *genre)]
    with torch.no_grad():
        if before_sigmoid:
            rows_by_input = dict(zip(("user", "item", "genre"), rows, strict=False))
            scores = catalog.load_kit(name).logits(model, training=False)(rows_by_input)
        elif name.startswith("keras"):
            scores = model([numbers[:, None] for numbers in rows], training=False)
        else:
            scores = model.eval()(*rows)
    return scores.cpu().numpy().reshape(USERS, ITEMS)


def files(folder: Path):
    dataset = read_dataset(folder / "ratings.csv", folder / "items.csv")
    return dataset, read_genres(folder / "items.csv", dataset.item_ids, "kinds")


def test_the_command_line_offers_every_architecture_and_each_has_a_recipe():
    assert {architecture.value for architecture in ArchitectureName} == set(catalog.MODULES)
    assert [default_recipe(name).similarity for name in catalog.DOT] == ["cosine", "cosine"]
    assert {default_recipe(name).similarity for name in SCORERS} == {"model"}


@EVERY
def test_a_fresh_model_takes_rows_by_name_and_gives_each_pair_a_score_of_its_own(name):
    model = fresh(name)
    scores = scored(name, model)

    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) == USERS * ITEMS
    if name.startswith("keras"):
        features = ["genre"] if name in catalog.WITH_GENRES else []
        assert [model_input.name for model_input in model.inputs] == ["user", "item", *features]
        assert {model_input.dtype for model_input in model.inputs} == {"int64"}


@EVERY
def test_what_is_trained_is_the_score_before_the_sigmoid(name):
    model = fresh(name)
    scores, logits = scored(name, model), scored(name, model, before_sigmoid=True)

    squashed = name.endswith(("mlp", "neumf"))
    assert (1 / (1 + np.exp(-logits)) if squashed else logits) == pytest.approx(scores, abs=1e-6)


@EVERY
def test_the_same_seed_draws_the_same_weights_and_another_seed_others(name):
    first, second, other = (scored(name, fresh(name, seed)) for seed in (3, 3, 4))

    assert np.array_equal(first, second)
    assert not np.isclose(first, other).any()


@EVERY
def test_building_a_model_does_not_change_the_callers_random_state(name):
    state = torch.random.get_rng_state()
    fresh(name)

    assert torch.equal(state, torch.random.get_rng_state())


@EVERY
def test_a_few_epochs_lower_the_loss_and_predict_held_out_items_better_than_popularity(name, even_odd, capsys):
    dataset, genres = files(even_odd)
    trained = train_model(name, dataset, QUICK, 0.25, 4, genres if name in catalog.WITH_GENRES else None)

    losses = [float(line.split()[-1]) for line in capsys.readouterr().err.splitlines()]
    assert len(losses) == QUICK.epochs
    assert losses[-1] < losses[0] / 2
    assert trained.metrics.recall > trained.popularity.recall


@EVERY
def test_the_same_seed_trains_to_the_same_scores(name, even_odd):
    dataset, genres = files(even_odd)
    recipe = Recipe(dim=3, epochs=2, batch_size=5, similarity="model")
    runs = [train_model(name, dataset, recipe, 0.25, 4, genres if name in catalog.WITH_GENRES else None) for _ in range(2)]

    parameters = zip(*(catalog.load_kit(name).parameters(run.model) for run in runs), strict=True)
    assert all(torch.equal(first, second) for first, second in parameters)


@EVERY
def test_a_saved_model_scores_as_it_did(name, tmp_path):
    model = fresh(name, seed=1)
    path = tmp_path / f"model{catalog.SUFFIXES[name]}"
    catalog.load_kit(name).save(model, path)
    if name.startswith("keras"):
        import keras

        loaded = keras.saving.load_model(path)
    else:
        loaded = fresh(name, seed=2)
        loaded.load_state_dict(torch.load(path, weights_only=True))

    assert np.array_equal(scored(name, model), scored(name, loaded))


@EVERY
def test_every_embedding_belongs_to_an_input_and_has_a_row_for_each_of_its_rows(name):
    tables = catalog.load_kit(name).embeddings(fresh(name))

    rows = {"user": USERS, "item": ITEMS, "genre": GENRES}
    assert {side for side, _ in tables} == {"user", "item"} | ({"genre"} if name in catalog.WITH_GENRES else set())
    assert all(len(table) == rows[side] for side, table in tables)


@pytest.mark.parametrize("dim", [3, 50])
def test_a_genres_vector_has_two_fifths_of_the_width_rounded_up(dim):
    assert genre_width(dim) == {3: 2, 50: 20}[dim]


def test_dropout_and_batch_normalisation_act_only_in_training():
    model = fresh("keras-genre-mlp", dropout=0.5, batch_norm=True)
    rows = [torch.arange(4)[:, None], torch.arange(4)[:, None], torch.zeros(4, 1, dtype=torch.int64)]
    first, second = (model(rows, training=True).detach() for _ in range(2))

    assert not torch.equal(first, second)
    assert torch.equal(model(rows, training=False), model(rows, training=False))


def test_scores_over_the_catalogue_are_those_of_each_pair():
    model = fresh("torch-genre-mlp")
    kit = catalog.load_kit("torch-genre-mlp")
    features = {"genre": np.arange(ITEMS) % GENRES}
    scores_of = catalogue_scores(kit.logits(model, training=False), ITEMS, features, torch.device("cpu"))

    expected = scored("torch-genre-mlp", model, before_sigmoid=True)
    assert expected[[4, 0, 2]] == pytest.approx(scores_of(np.array([4, 0, 2])), abs=1e-6)
    assert top(expected[1], np.array([0]), 3).tolist() == top(scores_of(np.array([1]))[0], np.array([0]), 3).tolist()


def test_the_weights_of_drawn_items_add_up_to_all_items_that_the_user_did_not_interact_with():
    pairs = InteractionPairs(np.array([0, 0, 1]), np.array([2, 3, 3]))
    sampler = pair_trainer._NegativeSampler(pairs, 10, torch.device("cpu"))
    items, log_weights = sampler.draw(torch.tensor([0, 1, 2]), torch.Generator().manual_seed(0))

    assert pytest.approx(log_weights.double().exp().sum(1).tolist(), rel=1e-5) == [8, 9, 10]
    assert set(items[0][log_weights[0] > pair_trainer.MASKED_LOG_WEIGHT].tolist()) == {0, 1, 4, 5, 6, 7, 8, 9}


def test_a_user_who_interacted_with_every_item_has_a_finite_loss(even_odd):
    pairs = InteractionPairs(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0]))
    scorer = catalog.load_scorer("torch-mlp")
    model, kit = scorer.build(2, 3, 4), scorer.kit
    trainee = pair_trainer.Trainee(kit.logits(model, training=True), kit.parameters(model), kit.embeddings(model))
    losses = []
    pair_trainer.fit(trainee, pairs, {}, QUICK, lambda _, loss: losses.append(loss), user_count=2, item_count=3)

    assert np.isfinite(losses).all()
