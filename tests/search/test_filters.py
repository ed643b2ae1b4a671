"""What a filter lets pass, against the same rule in plain Python; and what no filter may be."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle.columns import Columns
from recoserve.errors import FieldError, InvalidRequest
from recoserve.search.filters import Condition, Mask, Masks, conditions

TEXTS = st.text("ab\uffff\U0001f600", max_size=2)
INTEGERS = st.integers(-1, 2) | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
FLOATS = st.sampled_from([-0.0, 0.5, 2, 2.0**53, 1e308, -1e308])
WANTED_NUMBERS = INTEGERS | FLOATS | st.sampled_from([10**400, -(10**400), 2**63, 1.0, math.inf, -math.inf])
VALUES = {"text": TEXTS, "whole": INTEGERS, "half": FLOATS, "flag": st.booleans()}
WANTED = {**VALUES, "whole": WANTED_NUMBERS, "half": WANTED_NUMBERS}


def cells(values):
    return st.none() | values | st.lists(st.none() | values, max_size=3)


ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: cells(values) for name, values in VALUES.items()}), min_size=1, max_size=70
)


@st.composite
def filters(draw, columns):
    """One to three clauses on each of some columns, values of the column's type among them that no item has."""
    found = {}
    for name in draw(st.lists(st.sampled_from(columns), unique=True)) if columns else []:
        lists = {operator: st.lists(WANTED[name], min_size=1, max_size=3) for operator in ("any", "all", "none", "in")}
        alone = dict.fromkeys(("eq", *(["gte", "lte"] if name != "flag" else [])), WANTED[name])
        clauses = st.fixed_dictionaries({}, optional={**lists, **alone})
        found[name] = draw(clauses.filter(bool))
    return found


def own(entry, name):
    value = entry.get(name)
    return [each for each in (value if isinstance(value, list) else [value]) if each is not None]


RULES = {
    "any": lambda have, wanted: any(value in wanted for value in have),
    "in": lambda have, wanted: any(value in wanted for value in have),
    "all": lambda have, wanted: all(value in have for value in wanted),
    "none": lambda have, wanted: not any(value in wanted for value in have),
    "eq": lambda have, wanted: wanted in have,
    "gte": lambda have, wanted: any(value >= wanted for value in have),
    "lte": lambda have, wanted: any(value <= wanted for value in have),
}


def passes(entry, wanted):
    return all(RULES[operator](own(entry, name), value) for name, ops in wanted.items() for operator, value in ops.items())


@given(st.data())
def test_a_filter_lets_pass_what_its_clauses_say(data):
    """Law: row i passes if and only if every clause holds of what entry i has."""
    rows = data.draw(ROWS)
    columns = Columns.of(rows, len(rows))
    masks = Masks(columns, len(rows))
    for wanted in data.draw(st.lists(filters(sorted(columns.by_name)), min_size=1, max_size=4)):
        mask = masks.of(conditions(columns, wanted))
        passing = [row for row, entry in enumerate(rows) if passes(entry, wanted)]

        assert (mask.rows().tolist(), mask.count) == (passing, len(passing))


SHOP = [
    {"genres": ["Comedy", "Drama"], "year": 1990, "new": True, "price": 9.5},
    {"genres": ["Drama"], "year": 2001, "new": False, "price": 12},
    {"genres": [], "year": None, "odd": 1},
    {"odd": "one"},
    {"genres": "Comédie", "year": 1990},
]
COLUMNS = Columns.of(SHOP, len(SHOP))


@pytest.mark.parametrize(
    ("wanted", "rows"),
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
def test_clauses_are_joined_by_and(wanted, rows):
    assert Masks(COLUMNS, len(SHOP)).of(conditions(COLUMNS, wanted)).rows().tolist() == rows


NUMBER = "must be a number, as this column's values are"
STRING = "must be a string, as this column's values are"
KNOWN = "there are genres, year, new, price"
OPERATORS = "any, all, none, in, eq, gte, lte"


@pytest.mark.parametrize(
    ("wanted", "path", "says"),
    [
        ({"secret": {"eq": 1}}, (), f"a column is not known; {KNOWN}"),
        ({"odd": {"eq": 1}}, ("odd",), "can't be filtered: its values are of more than one type"),
        ({"year": {}}, ("year",), f"must hold at least one of {OPERATORS}"),
        ({"year": {"like": 1}}, ("year",), f"an operator is not known; there are {OPERATORS}"),
        ({"year": {"gte": "1990"}}, ("year", "gte"), NUMBER),
        ({"year": {"gte": True}}, ("year", "gte"), NUMBER),
        ({"year": {"eq": None}}, ("year", "eq"), NUMBER),
        ({"year": {"lte": math.nan}}, ("year", "lte"), NUMBER),
        ({"year": {"eq": [1990]}}, ("year", "eq"), NUMBER),
        ({"year": {"in": [1990, "1990"]}}, ("year", "in", 1), NUMBER),
        ({"year": {"none": [{}]}}, ("year", "none", 0), NUMBER),
        ({"year": {"any": 1990}}, ("year", "any"), "must be a list of at least one number"),
        ({"genres": {"any": []}}, ("genres", "any"), "must be a list of at least one string"),
        ({"genres": {"any": "Comedy"}}, ("genres", "any"), "must be a list of at least one string"),
        ({"genres": {"all": ["Comedy", 1]}}, ("genres", "all", 1), STRING),
        ({"genres": {"lte": 1}}, ("genres", "lte"), STRING),
        ({"new": {"eq": 1}}, ("new", "eq"), "must be a boolean, as this column's values are"),
        ({"new": {"gte": False}}, ("new", "gte"), "a column of booleans has no order; use eq"),
    ],
)
def test_a_clause_that_does_not_fit_is_told_by_its_place(wanted, path, says):
    """A boolean is no number here, and NaN is none either. What was sent is not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        conditions(COLUMNS, wanted)

    assert caught.value.fields == (FieldError(("filter", *path), says),)


def test_every_clause_at_fault_is_told():
    with pytest.raises(InvalidRequest) as caught:
        conditions(COLUMNS, {"year": {"gte": "a", "any": []}, "genres": {"eq": 1, "any": ["Comedy"]}})

    assert [field.path[1:] for field in caught.value.fields] == [("year", "gte"), ("year", "any"), ("genres", "eq")]


def test_of_many_columns_twenty_are_named():
    many = Columns.of([{f"c{number:02}": 1 for number in range(30)}], 1)

    with pytest.raises(InvalidRequest) as caught:
        conditions(many, {"other": {"eq": 1}})
    assert caught.value.fields[0].detail.endswith("c18, c19 and 10 more")


def test_a_bundle_without_columns_says_how_to_get_them():
    with pytest.raises(InvalidRequest) as caught:
        conditions(None, {"year": {"eq": 1}})

    assert "--items" in caught.value.fields[0].detail
    assert conditions(None, {}) == ()
    assert Masks(None, 40).of(()).count == 40


def test_conditions_are_the_same_whatever_the_order_and_the_kind_of_number():
    """So that a filter asked again in other words is found again."""
    (one,), (other,) = (conditions(COLUMNS, {"year": {"any": years}}) for years in ([2001, 1990], [1990.0, 2001, 1990]))

    assert (one, hash(one)) == (other, hash(other))
    assert one == Condition("year", "any", (1990, 2001))


@given(st.integers(1, 100), st.data())
def test_a_mask_is_the_set_of_its_rows(items, data):
    """Law: rows, count, has and blocks tell of the same set; & is its intersection."""
    sets = [data.draw(st.sets(st.integers(0, items - 1))) for _ in range(2)]
    one, other = (Mask.of_rows(np.array(sorted(rows), np.int64)[::-1], items) for rows in sets)
    blocks = -(-items // 32)
    asked = np.arange(blocks * 32).reshape(2, -1)

    assert (sorted(sets[0]), len(sets[0])) == (one.rows().tolist(), one.count)
    assert one.has(asked).tolist() == [[row in sets[0] for row in line] for line in asked.tolist()]
    assert one.blocks().tolist() == [any(row // 32 == block for row in sets[0]) for block in range(blocks)]
    assert sorted(sets[0] & sets[1]) == (one & other).rows().tolist()
    assert (one.bits.dtype, len(one.bits), one.rows().dtype) == (np.uint8, 4 * blocks, np.int64)


def test_a_mask_cannot_be_written():
    """It is shared by whoever asks for the same filter."""
    with pytest.raises(ValueError, match="read-only"):
        Mask.of_rows(np.array([1]), 40).bits[0] = 1


def test_a_filter_asked_again_is_not_computed_again():
    masks = Masks(COLUMNS, len(SHOP))
    wanted = conditions(COLUMNS, {"year": {"eq": 1990}, "new": {"eq": True}})

    assert masks.of(wanted) is masks.of(wanted[::-1])
    assert masks.of(wanted[:1]) is masks.of(wanted[:1])


def test_what_is_kept_stays_within_its_bytes():
    """A filter too large for the whole cache is still answered."""
    masks = Masks(COLUMNS, len(SHOP), most_bytes=5000)
    asked = [conditions(COLUMNS, {"year": {"eq": year}}) for year in range(1980, 2000)]
    first = [masks.of(each) for each in asked]
    words = conditions(COLUMNS, {"genres": {"any": ["x" * 5000, "Comedy"]}})
    digits = conditions(COLUMNS, {"year": {"any": [10**15_000, 1990]}})

    assert masks.of(asked[-1]) is first[-1]
    assert masks.of(asked[0]) is not first[0]
    assert masks.of(words).rows().tolist() == [0]
    assert masks.of(words) is not masks.of(words)
    assert masks.of(digits) is not masks.of(digits)


def test_the_filter_asked_longest_ago_goes_first():
    """Asking is using: with room for three, a fourth drops the one that was not asked again."""
    masks = Masks(COLUMNS, len(SHOP), most_bytes=3500)
    old, other, third, fourth = (conditions(COLUMNS, {"year": {"eq": year}}) for year in range(1990, 1994))
    kept, dropped, _ = masks.of(old), masks.of(other), masks.of(third)

    assert masks.of(old) is kept
    masks.of(fourth)
    assert masks.of(old) is kept
    assert masks.of(other) is not dropped


def test_threads_that_ask_at_once_get_the_same_answers():
    """A cache with room for two masks, asked by eight threads for twelve filters in other orders."""
    masks = Masks(COLUMNS, len(SHOP), most_bytes=2500)
    asked = [conditions(COLUMNS, {"year": {"gte": year}, "genres": {"none": ["Drama"]}}) for year in range(1985, 1997)]
    right = [[4] if year <= 1990 else [] for year in range(1985, 1997)]
    wrong = []

    def ask(seed):
        places = np.random.default_rng(seed).integers(0, len(asked), 300)
        wrong.extend(place for place in places if masks.of(asked[place]).rows().tolist() != right[place])

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
