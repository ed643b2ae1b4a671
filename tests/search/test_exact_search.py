"""Every exact search gives the top-k: a float64 brute force is the oracle, on tables that are meant to break a bound."""

import platform
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoserve.bundle import contract
from recoserve.bundle.tensors import read_int8_index
from recoserve.scheduling.loader import load_model
from recoserve.search.bounded_search import MIN_BOUNDED_ITEMS, BoundedSearch
from recoserve.search.cpu import query_levels
from recoserve.search.full_scan import FullScan
from recoserve.search.kernel import library
from recoserve.search.kernel.index import Index
from recoserve.search.kernel.library import KernelLibrary, libraries
from recoserve.search.kernel_search import KernelSearch
from recoserve.search.mask import Mask
from recoserve.search.query import Query
from recoserve.search.session import OnnxSession
from recoserve_export import export_model
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.write import dot_graphs, int8_graphs, int8_index, tensors

COSINE, DOT = Formula(cosine=True), Formula(cosine=False)
ITEMS = 20_000


def open_graphs(folder, users, items, formula):
    """The graphs of two tables as an export writes them, without the rest of a bundle."""
    user_table, item_table = EmbeddingTable("u", np.asarray(users, np.float32)), EmbeddingTable("i", np.asarray(items, np.float32))
    spans = tensors.write(folder / contract.TENSORS, user_table, item_table, formula)
    dot_graphs.write(folder, *spans, formula)
    int8_graphs.write(folder, *spans, int8_index.write(folder, item_table, formula), formula)
    files = {**contract.GRAPHS, **contract.QUERY_GRAPHS, **contract.SCREEN_GRAPHS}
    return {role: OnnxSession(folder / name, "cpu", 2, prepack=role == contract.SCREEN) for role, name in files.items()}


def kernel_searches(folder, sessions, users, items, formula):
    """The compiled kernel, by each library that this processor can run, over the same files."""
    users, items = (formula.vectors(np.asarray(table, np.float32)).astype(np.float32) for table in (users, items))
    int8_items = read_int8_index(folder / contract.SCREEN_GRAPHS[contract.SCREEN], *items.shape)
    indexes = [Index(KernelLibrary(*library), items, int8_items, 2) for library in libraries().items()]
    return [KernelSearch(index, users, len(items), sessions.get(contract.FINISH)) for index in indexes]


def test_this_processor_has_a_kernel():
    """Without one, the tests below would say nothing of it: AVX2 is what every x86-64 server of the last ten years has."""
    assert libraries() or platform.machine() not in ("x86_64", "AMD64")


def oracle(users, items, formula):
    """Every score, float64 [U, N], from the tables as float32 holds them."""
    users, items = (
        formula.vectors(np.asarray(table, np.float32)).astype(np.float32).astype(np.float64) for table in (users, items)
    )
    return users @ items.T


def assert_exact(ranking, scores, query, scale):
    """`ranking` is the top-k of `scores` float64 [N] among what the query allows; scores closer than rounding are ties."""
    allowed = np.arange(len(scores))
    allowed = allowed[query.allows(allowed)]
    best = np.sort(scores[allowed])[::-1][: query.k]
    tolerance = 1e-5 * scale + 1e-30
    assert len(ranking.item_rows) == len(best) == len(set(ranking.item_rows.tolist()))
    assert not set(ranking.item_rows.tolist()) & set(query.excluded.tolist())
    np.testing.assert_allclose(scores[ranking.item_rows], best, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ranking.scores, best, rtol=0, atol=tolerance)


def clustered(rng, count, dim):
    """Vectors around a few centres with a falling spectrum, like trained embeddings."""
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((20, dim)) * spectrum
    return centres[rng.integers(0, 20, count)] + 0.4 * rng.standard_normal((count, dim)) * spectrum


def nasty(name, rng):  # noqa: C901  # one branch for each pair of tables
    """Users and items of which the name says what should break a bound."""
    users, items = clustered(rng, 12, 16), clustered(rng, ITEMS, 16)
    if name == "one huge row":
        items[1234] *= 1e6
    elif name == "all equal":
        items[:] = items[0]
    elif name == "all zero":
        items[:] = 0
    elif name == "duplicates by the thousand":
        items[:] = items[rng.integers(0, 3, ITEMS)]
    elif name == "denormals":
        items *= 1e-40
    elif name == "tiny and large together":
        items *= 10.0 ** rng.integers(-20, 6, (ITEMS, 1))
    elif name == "a zero user":
        users[0] = 0
    elif name == "opposite":
        items = -np.abs(items)
        users = np.abs(users)
    elif name == "dimension 1":
        users, items = users[:, :1], items[:, :1]
    elif name == "one spike":
        items[:, 1:] *= 1e-6
    elif name == "saturating":
        items, users = np.sign(items), np.sign(users)
    return users, items


NASTY = ["plain", "one huge row", "all equal", "all zero", "duplicates by the thousand", "denormals", "tiny and large together",
         "a zero user", "opposite", "dimension 1", "one spike", "saturating"]  # fmt: skip


@pytest.mark.parametrize("formula", [COSINE, DOT], ids=str)
@pytest.mark.parametrize("name", NASTY)
def test_nasty_tables_are_ranked_exactly(name, formula, tmp_path):
    """With few blocks at first, so that every path is taken; and with the best items excluded."""
    rng = np.random.default_rng(NASTY.index(name))
    users, items = nasty(name, rng)
    sessions = open_graphs(tmp_path, users, items, formula)
    scores = oracle(users, items, formula)
    top = np.argsort(-scores, axis=1)
    none = np.empty(0, np.int64)
    queries = [Query(row, k, none if row % 2 else np.sort(top[row, : row * 5])) for row in range(12) for k in (1, 10, 25)]
    lengths = np.linalg.norm(formula.vectors(np.asarray(users, np.float32)), axis=1) * np.abs(items).max() * items.shape[1]
    paths = set()
    for search in (
        BoundedSearch(sessions, ITEMS),
        BoundedSearch(sessions, ITEMS, first_blocks=2, sorted_per_first=1),
        BoundedSearch(sessions, ITEMS, first_blocks=4, sorted_per_first=2, levels=63),
        FullScan(sessions, ITEMS),
        *kernel_searches(tmp_path, sessions, users, items, formula),
    ):
        for query, ranking in zip(queries, search.top(queries), strict=True):
            scale = 1.0 if formula.cosine else max(lengths[query.user_row] * 1e-2, np.abs(scores[query.user_row]).max())
            assert_exact(ranking, scores[query.user_row], query, scale)
            paths.add(ranking.path)
    assert name != "plain" or paths == {"proved", "widened", "full_scan"}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("formula", [COSINE, DOT], ids=str)
def test_no_item_beats_the_bound_of_its_block(name, formula, tmp_path):
    """The law that every proof rests on, for every block, in float64."""
    users, items = nasty(name, np.random.default_rng(NASTY.index(name)))
    sessions = open_graphs(tmp_path, users, items, formula)
    (vectors,) = sessions[contract.USER].run((contract.QUERY,), {contract.USER_ID: np.arange(12)})
    largest = oracle(users, items, formula).reshape(12, -1, contract.BLOCK).max(axis=2)
    for levels in {63, query_levels()}:
        feeds = {contract.QUERY: vectors, contract.LEVELS: np.array([levels], np.float32), contract.BLOCKS: np.array([1])}
        bounds, unit = sessions[contract.SCREEN].run((contract.BOUND, contract.UNIT), feeds)
        assert bounds.shape == largest.shape
        assert (bounds * unit >= largest).all()


@settings(max_examples=60)
@given(st.data())
def test_any_shape_and_any_selection_is_ranked_exactly(data):
    """Law: the top-k of what is allowed is that of float64, for any number of items, width, k, exclusion and mask; by a user's row
    or by the user's vector."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dim, items = data.draw(st.sampled_from([1, 2, 3, 7, 16, 33])), data.draw(st.integers(1, 5000))
    formula = data.draw(st.sampled_from([COSINE, DOT]))
    tables = clustered(rng, 5, dim), clustered(rng, items, dim)
    scores = oracle(*tables, formula)
    with tempfile.TemporaryDirectory() as folder:
        sessions = open_graphs(Path(folder), *tables, formula)
        (vectors,) = sessions[contract.USER].run((contract.QUERY,), {contract.USER_ID: np.arange(5)})
        queries = []
        for user in range(5):
            user_row, vector = data.draw(st.sampled_from([(user, None), (None, vectors[user])]))
            k = data.draw(st.integers(1, 8))
            excluded = np.unique(rng.integers(0, items, data.draw(st.sampled_from([0, 8, 100, 2 * items]))))
            passing = rng.integers(0, items, data.draw(st.integers(0, items)))
            mask = Mask.of_rows(passing, items) if data.draw(st.booleans()) else None
            queries.append(Query(user_row, k, excluded, mask=mask, vector=vector))
        compiled = kernel_searches(Path(folder), sessions, *tables, formula)
        for search in (BoundedSearch(sessions, items, first_blocks=1, sorted_per_first=1), FullScan(sessions, items), *compiled):
            for user, (query, ranking) in enumerate(zip(queries, search.top(queries), strict=True)):
                assert_exact(ranking, scores[user], query, max(1.0, np.abs(scores).max()))


def test_what_is_not_allowed_is_passed_over_however_good_it_is(tmp_path):
    """The user's best hundred items excluded, or masked, or the only ones that pass: proved or widened, never a full scan."""
    rng = np.random.default_rng(5)
    users, items = clustered(rng, 4, 16), clustered(rng, 60_000, 16)
    sessions, scores = open_graphs(tmp_path, users, items, COSINE), oracle(users, items, COSINE)
    for search in (BoundedSearch(sessions, len(items)), *kernel_searches(tmp_path, sessions, users, items, COSINE)):
        for user in range(4):
            best = np.argsort(-scores[user])
            masks = [Mask.of_rows(rows, len(items)) for rows in (best[100:], best[:100], np.sort(best)[: len(items) // 2])]
            queries = [Query(user, 10, np.sort(best[:100])), *(Query(user, 10, mask=mask) for mask in masks)]
            for query, ranking in zip(queries, search.top(queries), strict=True):
                assert_exact(ranking, scores[user], query, 1.0)
                assert ranking.path in ("proved", "widened")


@pytest.mark.parametrize("search_by", ["bounds", "full scan", "kernel"])
def test_a_ranking_is_the_same_bits_whatever_other_queries_come_with_it(search_by, tmp_path):
    rng = np.random.default_rng(0)
    users, items = clustered(rng, 40, 16), clustered(rng, 20_000, 16)
    sessions = open_graphs(tmp_path, users, items, COSINE)
    if search_by == "kernel":
        search = kernel_searches(tmp_path, sessions, users, items, COSINE)[0]
    else:
        search = BoundedSearch(sessions, 20_000) if search_by == "bounds" else FullScan(sessions, 20_000)
    queries = [Query(user, 5 + user % 3, np.arange(user % 4 * 7)) for user in range(40)]
    solo = [search.top([query])[0] for query in queries]
    for size in (2, 7, 40):
        batched = [ranking for start in range(0, 40, size) for ranking in search.top(queries[start : start + size])]
        for expected, ranking in zip(solo, batched, strict=True):
            assert expected.item_rows.tolist() == ranking.item_rows.tolist()
            assert expected.scores.tolist() == ranking.scores.tolist()


def test_ties_across_blocks_go_to_the_lowest_rows(tmp_path):
    """Of thousands of equal items the first k rows, by every search."""
    users, items = np.eye(2), np.tile([1.0, 0.0], (ITEMS, 1))
    items[7] = [0, 1]
    sessions = open_graphs(tmp_path, users, items, COSINE)
    for search in (BoundedSearch(sessions, ITEMS, first_blocks=2), *kernel_searches(tmp_path, sessions, users, items, COSINE)):
        (ranking,) = search.top([Query(0, 10)])
        assert ranking.item_rows.tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]


def test_every_ranking_says_by_which_path_it_was_found(tmp_path):
    """Clear winners are proved; a k of most of the items is a full scan."""
    rng = np.random.default_rng(1)
    users, items = np.eye(16)[:4], 0.1 * clustered(rng, 20_000, 16)
    items[:8] = 10 * np.eye(16)[0]
    sessions = open_graphs(tmp_path, users, items, DOT)

    search = BoundedSearch(sessions, 20_000)
    assert [ranking.path for ranking in search.top([Query(0, 5), Query(0, 15_000)])] == ["proved", "full_scan"]


def test_with_everything_excluded_the_ranking_is_empty(tmp_path):
    users, items = np.eye(2), clustered(np.random.default_rng(2), ITEMS, 2)
    search = BoundedSearch(open_graphs(tmp_path, users, items, COSINE), ITEMS, first_blocks=2)

    (ranking,) = search.top([Query(0, 10, np.arange(ITEMS))])
    assert ranking.item_rows.tolist() == []


def test_without_a_kernel_a_bundle_is_searched_by_bounds_where_that_pays(bundle, tmp_path, monkeypatch):
    assert load_model(bundle).retrieval == "exact"
    monkeypatch.setattr(library, "load_best", lambda: None)
    rng = np.random.default_rng(4)
    tables = clustered(rng, 30, 8).astype(np.float32), clustered(rng, MIN_BOUNDED_ITEMS, 8).astype(np.float32)
    export_model(tables, tmp_path / "large")
    exact, plain = (load_model(tmp_path / "large", retrieval=name) for name in ("exact", "plain"))

    assert [load_model(bundle).retrieval, exact.retrieval, plain.retrieval] == ["plain", "exact", "plain"]
    queries = [Query(user, 10, np.arange(user)) for user in range(30)]
    for bounded, scanned in zip(exact.rank(queries), plain.rank(queries), strict=True):
        assert bounded.item_rows.tolist() == scanned.item_rows.tolist()
        np.testing.assert_allclose(bounded.scores, scanned.scores, atol=1e-6)
