"""What a filter may say, what is refused and how, and when two filters mean the same."""

import math

import pytest

from recoserve.bundle.columns import Columns
from recoserve.errors import FieldError, InvalidRequest
from recoserve.search.filters import Condition, filter_conditions
from tests.search.shop import COLUMNS

NUMBER = "must be a number, as this column's values are"
STRING = "must be a string, as this column's values are"
KNOWN = "it has genres, year, new, price"
OPERATORS = "any, all, none, in, eq, gte, lte"


@pytest.mark.parametrize(
    ("clauses", "path", "message"),
    [
        ({"secret": {"eq": 1}}, (), f"names a column that this model doesn't have; {KNOWN}"),
        ({"odd": {"eq": 1}}, ("odd",), "can't be filtered by: its values are of more than one type"),
        ({"year": {}}, ("year",), f"must hold at least one of {OPERATORS}"),
        ({"year": {"like": 1}}, ("year",), f"has an operator that doesn't exist; use one of {OPERATORS}"),
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
def test_a_clause_that_does_not_fit_is_refused_at_its_path(clauses, path, message):
    """A boolean is no number here, and NaN is none either. What was sent is not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        filter_conditions(COLUMNS, clauses)

    assert caught.value.fields == (FieldError(("filter", *path), message),)


def test_every_clause_at_fault_is_reported():
    with pytest.raises(InvalidRequest) as caught:
        filter_conditions(COLUMNS, {"year": {"gte": "a", "any": []}, "genres": {"eq": 1, "any": ["Comedy"]}})

    assert [field.path[1:] for field in caught.value.fields] == [("year", "gte"), ("year", "any"), ("genres", "eq")]


def test_of_many_columns_twenty_are_named():
    columns = Columns.from_metadata([{f"c{number:02}": 1 for number in range(30)}], 1)

    with pytest.raises(InvalidRequest) as caught:
        filter_conditions(columns, {"other": {"eq": 1}})
    assert caught.value.fields[0].detail.endswith("c18, c19 and 10 more")


def test_a_bundle_without_columns_says_how_to_get_them():
    with pytest.raises(InvalidRequest) as caught:
        filter_conditions(None, {"year": {"eq": 1}})

    assert "--items" in caught.value.fields[0].detail
    assert filter_conditions(None, {}) == ()


def test_conditions_are_equal_whatever_the_order_and_the_kind_of_number():
    """So that a filter that comes again in other words finds its mask in the cache."""
    filters = [{"year": {"any": years}} for years in ([2001, 1990], [1990.0, 2001, 1990])]
    (condition,), (reworded,) = (filter_conditions(COLUMNS, clauses) for clauses in filters)

    assert (condition, hash(condition)) == (reworded, hash(reworded))
    assert condition == Condition("year", "any", (1990, 2001))
