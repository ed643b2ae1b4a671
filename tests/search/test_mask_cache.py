"""What a filter lets pass, against the same rule in plain Python; and which masks the cache keeps."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.columns import Columns
from recoserve.search.filters import filter_conditions
from recoserve.search.mask_cache import MaskCache
from tests.search.shop import COLUMNS, SHOP

TEXTS = st.text("ab\uffff\U0001f600", max_size=2)
INTEGERS = st.integers(-1, 2) | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
FLOATS = st.sampled_from([-0.0, 0.5, 2, 2.0**53, 1e308, -1e308])
FILTER_NUMBERS = INTEGERS | FLOATS | st.sampled_from([10**400, -(10**400), 2**63, 1.0, math.inf, -math.inf])
ITEM_VALUES = {"text": TEXTS, "whole": INTEGERS, "half": FLOATS, "flag": st.booleans()}
FILTER_VALUES = {**ITEM_VALUES, "whole": FILTER_NUMBERS, "half": FILTER_NUMBERS}


def cells(values):
    return st.none() | values | st.lists(st.none() | values, max_size=3)


METADATA = st.lists(
    st.fixed_dictionaries({}, optional={name: cells(values) for name, values in ITEM_VALUES.items()}), min_size=1, max_size=70
)


@st.composite
def filters(draw, columns):
    """One to three clauses on each of some columns, values of the column's type among them that no item has."""
    clauses_by_column = {}
    for name in draw(st.lists(st.sampled_from(columns), unique=True)) if columns else []:
        with_list = {operator: st.lists(FILTER_VALUES[name], min_size=1, max_size=3) for operator in ("any", "all", "none", "in")}
        with_value = dict.fromkeys(("eq", *(["gte", "lte"] if name != "flag" else [])), FILTER_VALUES[name])
        clauses = st.fixed_dictionaries({}, optional={**with_list, **with_value})
        clauses_by_column[name] = draw(clauses.filter(bool))
    return clauses_by_column


def values_of(item, name):
    value = item.get(name)
    return [element for element in (value if isinstance(value, list) else [value]) if element is not None]


RULES = {
    "any": lambda values, operand: any(value in operand for value in values),
    "in": lambda values, operand: any(value in operand for value in values),
    "all": lambda values, operand: all(value in values for value in operand),
    "none": lambda values, operand: not any(value in operand for value in values),
    "eq": lambda values, operand: operand in values,
    "gte": lambda values, operand: any(value >= operand for value in values),
    "lte": lambda values, operand: any(value <= operand for value in values),
}


def passes(item, clauses_by_column):
    return all(
        RULES[operator](values_of(item, name), operand)
        for name, clauses in clauses_by_column.items()
        for operator, operand in clauses.items()
    )


@given(st.data())
def test_a_filter_lets_pass_what_its_clauses_say(data):
    """Law: an item passes if and only if every clause holds of its metadata."""
    metadata = data.draw(METADATA)
    columns = Columns.from_metadata(metadata, len(metadata))
    cache = MaskCache(columns, len(metadata))
    for clauses_by_column in data.draw(st.lists(filters(sorted(columns.by_name)), min_size=1, max_size=4)):
        mask = cache.mask(filter_conditions(columns, clauses_by_column))
        passing = [row for row, item in enumerate(metadata) if passes(item, clauses_by_column)]

        assert (mask.rows().tolist(), mask.count) == (passing, len(passing))


@pytest.mark.parametrize(
    ("clauses", "rows"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"genres": {"any": ["Comedy", "Comédie"]}}, [0, 4]),
        ({"genres": {"all": ["Comedy", "Drama"]}}, [0]),
        ({"genres": {"none": ["Drama"]}}, [2, 3, 4]),
        ({"genres": {"eq": "Drama"}}, [0, 1]),
        ({"genres": {"eq": "no item has it"}}, []),
        ({"genres": {"none": ["no item has it"]}}, [0, 1, 2, 3, 4]),
        ({"genres": {"gte": "Comedz"}}, [0, 1, 4]),
        ({"year": {"in": [1990, 7]}}, [0, 4]),
        ({"year": {"eq": 1990.0}}, [0, 4]),
        ({"year": {"gte": 1990.5}}, [1]),
        ({"year": {"gte": 2001, "lte": 1990}}, []),
        ({"year": {"eq": 1990, "none": [1990]}}, []),
        ({"year": {"lte": 10**400}}, [0, 1, 4]),
        ({"year": {"gte": -(10**400)}}, [0, 1, 4]),
        ({"price": {"gte": 12}}, [1]),
        ({"new": {"eq": False}}, [1]),
        ({"new": {"none": [False]}, "year": {"lte": 1999}}, [0, 4]),
    ],
)
def test_clauses_are_joined_by_and(clauses, rows):
    assert MaskCache(COLUMNS, len(SHOP)).mask(filter_conditions(COLUMNS, clauses)).rows().tolist() == rows


def test_without_conditions_every_item_passes():
    assert MaskCache(None, 40).mask(()).count == 40


def test_a_filter_that_comes_again_is_not_computed_again():
    """In any order of its conditions."""
    cache = MaskCache(COLUMNS, len(SHOP))
    conditions = filter_conditions(COLUMNS, {"year": {"eq": 1990}, "new": {"eq": True}})

    assert cache.mask(conditions) is cache.mask(conditions[::-1])
    assert cache.mask(conditions[:1]) is cache.mask(conditions[:1])


def test_the_cache_stays_within_its_bytes():
    """A filter larger than all of the cache gets its mask nevertheless."""
    cache = MaskCache(COLUMNS, len(SHOP), max_bytes=5000)
    filters = [filter_conditions(COLUMNS, {"year": {"eq": year}}) for year in range(1980, 2000)]
    masks = [cache.mask(conditions) for conditions in filters]
    long_text = filter_conditions(COLUMNS, {"genres": {"any": ["x" * 5000, "Comedy"]}})
    long_number = filter_conditions(COLUMNS, {"year": {"any": [10**15_000, 1990]}})

    assert cache.mask(filters[-1]) is masks[-1]
    assert cache.mask(filters[0]) is not masks[0]
    assert cache.mask(long_text).rows().tolist() == [0]
    assert cache.mask(long_text) is not cache.mask(long_text)
    assert cache.mask(long_number) is not cache.mask(long_number)


def test_the_least_recently_used_filter_is_dropped_first():
    """With room for three masks, a fourth drops the one that was not used again."""
    cache = MaskCache(COLUMNS, len(SHOP), max_bytes=3500)
    used_again, unused, third, fourth = (filter_conditions(COLUMNS, {"year": {"eq": year}}) for year in range(1990, 1994))
    mask, dropped, _ = cache.mask(used_again), cache.mask(unused), cache.mask(third)

    assert cache.mask(used_again) is mask
    cache.mask(fourth)
    assert cache.mask(used_again) is mask
    assert cache.mask(unused) is not dropped


def test_threads_that_share_a_cache_get_the_right_masks():
    """A cache with room for two masks, used by eight threads for twelve filters in different orders."""
    cache = MaskCache(COLUMNS, len(SHOP), max_bytes=2500)
    years = range(1985, 1997)
    filters = [filter_conditions(COLUMNS, {"year": {"gte": year}, "genres": {"none": ["Drama"]}}) for year in years]
    expected = [[4] if year <= 1990 else [] for year in years]
    wrong = []

    def use(seed):
        indices = np.random.default_rng(seed).integers(0, len(filters), 300)
        wrong.extend(index for index in indices if cache.mask(filters[index]).rows().tolist() != expected[index])

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
