"""Metadata by column: every value comes back with its rows, and files that a lookup could fail in are refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.bundle import column_files, contract
from recoserve.bundle.archive import open_bundle, read_manifest
from recoserve.bundle.columns import Columns
from recoserve.errors import BundleInvalid
from recoserve_export import export_model
from tests.bundles import METADATA, make_bundle, reseal
from tests.fakes import even_likes_even

TEXTS = st.text("ab\x00é\uffff\U0001f600", max_size=3)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 2)


def cells(values):
    return st.none() | values | st.lists(st.none() | values, max_size=3)


ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"text": cells(TEXTS), "": cells(INTEGERS), "a/b\n": cells(NUMBERS), "flag": cells(st.booleans())}
    ),
    max_size=70,
)
SMALL = [
    {"title": "B", "year": 1990, "price": 0.5, "new": True, "genres": ["x", "y"]},
    {"title": "A", "year": 2001, "price": 2, "new": False, "genres": ["y"]},
    {"title": "é", "year": 1990, "price": 7.25, "new": True},
]


def encoded(rows):
    """The bytes of both files for the metadata of some rows."""
    columns = Columns.from_metadata(rows, len(rows))
    return column_files.encode_index(columns), np.frombuffer(b"".join(column_files.encode_data(columns)), np.uint8)


def round_trip(rows):
    """The columns of some rows, encoded and parsed."""
    return column_files.parse(*encoded(rows), len(rows))


def values_of(row, name):
    """The values that one item has in a column."""
    cell = row.get(name)
    return [value for value in (cell if isinstance(cell, list) else [cell]) if value is not None]


@given(ROWS)
def test_every_value_comes_back_with_the_rows_that_have_it(rows):
    """Law: values are the distinct ones, ascending; having(v) is the ascending rows of the items that have v."""
    columns = round_trip(rows)

    assert set(columns.by_name) == {name for row in rows for name in row if values_of(row, name)}
    for name, column in columns.by_name.items():
        values = list(column.values)
        assert values == sorted({value for row in rows for value in values_of(row, name)})
        for value in values:
            expected = [number for number, row in enumerate(rows) if value in values_of(row, name)]
            assert expected == column.having(value).tolist()


@given(ROWS)
def test_parsed_files_encode_to_the_same_bytes(rows):
    """Law: encode(parse(encode(rows))) == encode(rows)."""
    index, data = encoded(rows)
    columns = column_files.parse(index, data, len(rows))

    assert index == column_files.encode_index(columns)
    assert data.tobytes() == b"".join(column_files.encode_data(columns))


@pytest.mark.parametrize(
    ("cells", "column_type", "values"),
    [
        ([3, 1, None], "number", [1, 3]),
        ([2.5, 1], "number", [1.0, 2.5]),
        ([2**63 - 1, -(2**63)], "number", [-(2**63), 2**63 - 1]),
        ([2**63, 0], "number", [0.0, float(2**63)]),
        ([True, [False, True]], "boolean", [False, True]),
        (["b", ["a", None, "a"]], "string", ["a", "b"]),
        (["", "\U0001f600", "\uffff"], "string", ["", "\uffff", "\U0001f600"]),
    ],
)
def test_a_column_has_one_type(cells, column_type, values):
    """Numbers are integers where all of them are and fit; strings are in code point order, beyond the basic plane too."""
    (column,) = round_trip([{"c": cell} for cell in cells]).by_name.values()

    assert (column_type, values) == (column.type, list(column.values))
    assert {type(value) for value in values} == {type(value) for value in column.values}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([1, "1"], "mixed"),
        ([True, 1], "mixed"),
        ([["a", 2]], "mixed"),
        ([{"a": 1}], "nested"),
        ([1, "1", {"a": 1}], "nested"),
        ([[["a"]]], "nested"),
        ([2**63, 0.5, 2**53 + 1], "wide"),
        ([10**400], "wide"),
        ([math.inf], "wide"),
    ],
)
def test_a_column_that_cannot_be_filtered_by_is_listed_with_the_reason(cells, reason):
    assert {"c": reason} == round_trip([{"c": cell} for cell in cells]).refused


def test_numbers_of_both_kinds_compare_exactly():
    """2^53 + 1 has no float64: it lies between two of them, and equals neither."""
    column = round_trip([{"c": 2.0**53}, {"c": 2.0**53 + 2}, {"c": 0.5}]).by_name["c"]

    assert column.having(2**53 + 1).tolist() == []
    assert column.at_least(2**53 + 1).tolist() == [1]
    assert column.at_most(2**53 + 1).tolist() == [2, 0]
    assert (column.at_least(10**400).tolist(), column.at_most(10**400).tolist()) == ([], [2, 0, 1])


def with_element(name, array, element, value):
    """Both files of `SMALL`, with one element of one array of a column changed."""
    index, data = encoded(SMALL)
    data, start = data.copy(), 0
    for entry in json.loads(index):
        for number, layout in enumerate(column_files.array_layouts(entry, len(SMALL))):
            if (entry["name"], number) == (name, array):
                data[start : start + layout.padded_bytes].view(layout.dtype)[element] = value
            start += layout.padded_bytes
    return index, data


@pytest.mark.parametrize(
    ("position", "value", "problem"),
    [
        (("year", 2, 0), 3, "outside [0, 2]"),
        (("year", 2, 0), -1, "outside [0, 2]"),
        (("year", 2, 1), 0, "must ascend"),
        (("year", 1, 0), 1, "offsets"),
        (("year", 1, 1), 0, "offsets"),
        (("year", 1, 1), 2**62, "offsets"),
        (("year", 1, 2), 2**62, "offsets"),
        (("year", 0, 1), 1990, "must ascend"),
        (("price", 0, 1), math.nan, "NaN"),
        (("price", 0, 2), math.inf, "infinite"),
        (("price", 0, 2), 0, "must ascend"),
        (("new", 0, 1), 2, "0 or 1"),
        (("new", 0, 1), 0, "must ascend"),
        (("title", 0, 1), 9, "offsets"),
        (("title", 0, 0), -1, "offsets"),
        (("title", 1, 0), ord("B"), "must ascend"),
        (("title", 1, 2), 0xFF, "not UTF-8"),
        (("title", 0, 2), 3, "not UTF-8"),
    ],
)
def test_arrays_that_a_lookup_could_fail_in_are_refused(position, value, problem):
    """Rows, order, offsets, ranges: the message names the file and the column. The last case cuts é in half."""
    with pytest.raises(BundleInvalid) as caught:
        column_files.parse(*with_element(*position, value), len(SMALL))

    assert problem in str(caught.value)
    assert f"columns.bin: column {position[0]!r}" in str(caught.value)


YEAR = {"name": "year", "type": "integer", "values": 2, "entries": 3}


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"name": "a", "name": "b"}]',
        [{**YEAR, "type": "date"}],
        [{**YEAR, "type": ["integer"]}],
        [{**YEAR, "values": 0}],
        [{**YEAR, "values": True}],
        [{**YEAR, "entries": 1}],
        [{**YEAR, "bytes": 1}],
        [{**YEAR, "type": "string"}],
        [{**YEAR, "type": "string", "bytes": -8}],
        [{**YEAR, "values": 10**30, "entries": 10**30}],
        [{**YEAR, "name": 1}],
        [{**YEAR, "reason": "mixed"}],
        [{"name": "a", "reason": "none of ours"}],
        [{"name": "a", "reason": []}],
        [{"name": "a"}],
        [YEAR, YEAR],
        [YEAR, {"name": "year", "reason": "mixed"}],
    ],
)
def test_an_index_that_describes_no_columns_is_refused(index):
    _, data = encoded([{"year": row["year"]} for row in SMALL])
    body = index if isinstance(index, bytes) else json.dumps(index).encode()

    with pytest.raises(BundleInvalid, match=r"columns\.json"):
        column_files.parse(body, data, len(SMALL))


@given(st.data())
def test_damaged_files_are_refused_or_give_rows_of_the_bundle(data):
    """Law: whatever bytes are changed or cut off, BundleInvalid, or columns in which every lookup gives rows of the bundle."""
    index, columns_data = encoded(SMALL)
    files = [bytearray(index), bytearray(columns_data.tobytes())]
    for _ in range(data.draw(st.integers(1, 3))):
        damaged = files[data.draw(st.integers(0, 1))]
        position = data.draw(st.integers(0, len(damaged) - 1)) if damaged else 0
        if data.draw(st.integers(0, 9)):
            damaged[position : position + 1] = bytes([data.draw(st.integers(0, 255))])
        else:
            del damaged[position:]
    try:
        columns = column_files.parse(bytes(files[0]), np.frombuffer(bytes(files[1]), np.uint8), 3)
    except BundleInvalid:
        return
    for column in columns.by_name.values():
        for value in column.values:
            for rows in (column.having(value), column.at_least(value), column.at_most(value)):
                assert {0, 1, 2} >= set(rows.tolist()) != set()


def test_a_bundle_has_the_columns_of_its_metadata(bundle):
    columns = open_bundle(bundle).columns

    assert [row for row in range(8) if "even" in METADATA[row]["genres"]] == columns.by_name["genres"].having("even").tolist()
    assert columns.by_name["title"].having("Item 5").tolist() == [5]


def test_columns_come_from_the_metadata_as_json_has_it(tmp_path):
    """In JSON a tuple is a list, and every key a string."""
    make_bundle(tmp_path / "b", items=[{1: ("a", "b"), "none": None} for _ in range(8)])
    columns = open_bundle(tmp_path / "b").columns

    assert {name: list(column.values) for name, column in columns.by_name.items()} == {"1": ["a", "b"]}


def test_metadata_without_any_value_has_no_column(tmp_path):
    make_bundle(tmp_path / "b", items=[{} for _ in range(8)])
    columns = open_bundle(tmp_path / "b").columns

    assert (columns.by_name, columns.refused) == ({}, {})


def test_a_bundle_without_metadata_has_no_columns(tmp_path):
    export_model(even_likes_even(), tmp_path / "b")

    assert open_bundle(tmp_path / "b").columns is None
    assert not {contract.COLUMNS, contract.COLUMN_DATA} & set(read_manifest(tmp_path / "b").sizes)


def test_columns_of_another_bundle_are_refused(own_bundle):
    """The digests are right, but a row lies beyond the items."""
    index, data = encoded([{"a": 1}] * 9)
    (own_bundle / "columns.json").write_bytes(index)
    (own_bundle / "columns.bin").write_bytes(data.tobytes())
    reseal(own_bundle)

    with pytest.raises(BundleInvalid, match=r"columns\.bin: column 'a': a row is outside \[0, 7\]"):
        open_bundle(own_bundle)


def test_an_index_without_its_data_is_refused(own_bundle):
    (own_bundle / "columns.bin").unlink()
    reseal(own_bundle)

    with pytest.raises(BundleInvalid, match=r"columns\.bin: needed"):
        open_bundle(own_bundle)
