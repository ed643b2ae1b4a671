"""`recoserve inspect`: lengths, nearest items, the map."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recoserve import demo
from recoserve.bundle.archive import open_bundle
from recoserve.bundle.tensors import embedding_tables
from recoserve.bundle.vocabulary import IntegerIds, StringIds
from recoserve.errors import BundleInvalid, OperatorError
from recoserve.inspection import vectors
from recoserve.inspection.chart import item_map
from recoserve.inspection.drawing import OTHER_COLOUR, Chart, legend, svg
from recoserve.inspection.items import ItemTitles, first_list_column, readable
from recoserve.inspection.page import html
from recoserve.inspection.plane import plane
from tests.bundles import make_bundle, reseal
from tests.command_line import assert_mistake, recoserve
from tests.fakes import even_likes_even, fake_model

TABLES = arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=st.floats(-8, 8, width=16))
HOSTILE = "<script>alert('x')</script> & \"quotes\" \x1b[31m\x00 ]]>"


@pytest.fixture(scope="module")
def dot_bundle(tmp_path_factory):
    """Even users like even items, by the raw dot product; one title is an attack."""
    metadata = [{"title": HOSTILE if row == 3 else f"Item {row}", "genres": [f"<b>{row % 2}</b>"]} for row in range(8)]
    return make_bundle(tmp_path_factory.mktemp("dot") / "evens", similarity="dot", items=metadata)


def chart_of(groups, column="genres"):
    points = plane(np.arange(2 * len(groups), dtype=np.float32).reshape(-1, 2))
    return Chart("a", "b", points, [f"Item {row}" for row in range(len(groups))], column, groups)


# Lengths


def test_lengths_are_summarised_by_quartiles_and_the_number_of_zeros():
    summary = vectors.summarise_lengths(np.array([[3, 4], [0, 0], [0, 1], [2, 0], [0, 3]], np.float32))

    assert (summary.rows, summary.zero, summary.quartiles, summary.unit) == (5, 1, (0, 1, 2, 3, 5), False)


def test_unit_rows_are_unit_with_a_zero_row_among_them():
    assert vectors.summarise_lengths(np.array([[0.6, 0.8], [0, 0]], np.float32)).unit


def test_a_length_beyond_float32_is_finite():
    assert vectors.summarise_lengths(np.full((1, 4), 3e38, np.float32)).quartiles[0] == pytest.approx(6e38)


def test_a_table_larger_than_a_slice_is_read_slice_by_slice():
    table = np.zeros((5, vectors.SLICE_ELEMENTS // 2), np.float32)
    table[:, 0] = np.arange(5)

    assert vectors.summarise_lengths(table).quartiles == (0, 1, 2, 3, 4)


# Nearest


def test_nearest_leaves_out_the_item_itself_and_orders_equal_cosines_by_row():
    table = np.array([[0, 1], [1, 0], [2, 0], [-1, 0], [0, 0], [5, 0]], np.float32)

    rows, cosines = vectors.nearest(table, 1, 4)
    assert (rows.tolist(), cosines.tolist()) == ([2, 5, 0, 4], [1, 1, 0, 0])


def test_a_k_above_the_number_of_items_gives_all_others():
    assert len(vectors.nearest(np.eye(3, dtype=np.float32), 0, 10)[0]) == 2


def test_a_zero_vector_has_no_nearest_items():
    with pytest.raises(OperatorError, match="zero"):
        vectors.nearest(np.array([[0, 0], [1, 0]], np.float32), 0, 1)


# The plane


@given(TABLES)
def test_shares_add_up_to_1_at_most_and_the_first_is_the_larger(table):
    first, second = plane(table).shares

    assert 0 <= second <= first <= first + second <= 1 + 1e-9


@given(arrays(np.float32, st.tuples(st.integers(2, 12), st.just(2)), elements=st.floats(-8, 8, width=16)))
def test_a_plane_of_two_dimensions_keeps_every_distance(table):
    points = plane(table).points

    expected = np.linalg.norm(table[:, None].astype(float) - table[None], axis=-1)
    assert np.allclose(np.linalg.norm(points[:, None] - points[None], axis=-1), expected, atol=1e-9)


def test_points_on_a_line_have_all_their_variance_on_the_first_axis():
    line = plane(np.outer(np.arange(5), [2, -3, 6]).astype(np.float32))

    assert line.shares == pytest.approx((1, 0))
    assert np.diff(line.points[:, 0]) == pytest.approx([7] * 4)


@pytest.mark.parametrize("table", [np.ones((4, 3)), np.arange(4.0).reshape(4, 1), np.ones((1, 2))])
def test_equal_vectors_one_dimension_or_one_item_still_give_a_map(table):
    projection = plane(table.astype(np.float32))

    assert projection.points.shape == (len(table), 2) and np.isfinite(projection.points).all()
    chart = Chart("a", "b", projection, ["x"] * len(table), None, ())
    assert "nan" not in svg(chart)


def test_a_large_table_is_sampled_the_same_way_every_time():
    """The axes come from all rows, so that a point of the sample is where it would be on a map of all rows."""
    table = np.random.default_rng(7).normal(size=(50, 5)).astype(np.float32)

    complete, sample, again = plane(table), plane(table, max_points=10), plane(table, max_points=10)
    assert (len(sample.rows), sample.row_count) == (10, 50)
    assert sample.rows.tolist() == again.rows.tolist() == sorted(set(sample.rows.tolist()))
    assert np.array_equal(sample.points, complete.points[sample.rows])


# Items by title


def titles_of(*titles, **options):
    return ItemTitles(fake_model(items=len(titles), metadata=[{"title": title} for title in titles], **options).bundle)


def test_a_text_is_an_id_before_it_is_part_of_a_title():
    items = titles_of("Two", "1", "Three", item_ids=IntegerIds(np.array([7, 8, 1])))

    assert items.find("1", 1) == 2


def test_a_title_is_found_by_a_part_of_it_in_any_case():
    assert titles_of("Alien (1979)", "Heat").find("aLIEN", "aLIEN") == 0


def test_an_equal_title_wins_over_titles_that_contain_the_text():
    assert titles_of("Heat and Dust", "Heat", "Body Heat").find("heat", "heat") == 1


def test_string_ids_work_as_well():
    items = titles_of("Alien", "Heat", item_ids=StringIds(["b7", "b8"]))

    assert items.find("b8", "b8") == 1
    assert items.find("alien", "alien") == 0


def test_an_ambiguous_title_lists_its_matches():
    with pytest.raises(OperatorError, match="25 titles match 'item'") as refused:
        titles_of(*(f"Item {row}." for row in range(25))).find("item", "item")

    lines = str(refused.value).splitlines()
    assert lines[1] == "  0: Item 0." and lines[-1] == "  … and 5 more" and len(lines) == 22


def test_without_metadata_an_item_has_its_id_as_title_and_is_found_by_its_id_alone():
    items = ItemTitles(fake_model(item_ids=IntegerIds(np.arange(100, 108))).bundle)

    assert items.title(3) == "item 103" and items.find("103", 103) == 3
    with pytest.raises(OperatorError, match="no item has the id 'item', and no title contains it"):
        items.find("item", "item")


def test_metadata_that_is_no_object_makes_the_bundle_invalid():
    with pytest.raises(BundleInvalid, match="line 2 is not a JSON object"):
        ItemTitles(fake_model(items=2, metadata=[{}, 3]).bundle).title(1)


@given(st.text(st.characters(), max_size=300))
def test_a_readable_text_is_one_short_line_without_control_characters(text):
    line = readable(text)

    assert len(line) <= 160 and all(letter.isprintable() for letter in line)
    line.encode()


# Colours and the drawing


def test_the_first_column_of_lists_colours_the_map():
    rows = [{"title": "a", "genres": []}, {"title": "b", "genres": ["Drama", "War"]}, {"tags": ["x"]}, {"genres": "Drama"}]

    assert first_list_column(rows) == ("genres", ["", "Drama", "", ""])
    assert first_list_column([{"title": "a", "year": 1999, "sizes": [1]}]) is None


def test_the_eight_most_frequent_groups_have_colours_and_all_others_are_grey():
    """Equally frequent groups are ordered by name; an item without a group is grey."""
    entries = legend(chart_of([*"jihgfedcba", "a", "j", "j", ""]))

    assert [entry.label for entry in entries] == [*"jabcdefg", "other"]
    assert (entries[-1].colour, list(entries[-1].points)) == (OTHER_COLOUR, [1, 2, 13])
    assert len({entry.colour for entry in entries}) == 9


def test_without_a_column_there_is_no_legend():
    assert 'class="key"' not in svg(chart_of(["", ""], column=None))


def test_titles_and_groups_are_escaped(dot_bundle):
    picture = svg(item_map(open_bundle(dot_bundle)))

    root = ET.fromstring(picture)  # noqa: S314 -- our own
    titles = [title.text for title in root.iterfind(".//{*}circle/{*}title")]
    assert len(titles) == 8 and "Item 0" in titles and readable(HOSTILE) in titles
    assert not list(root.iterfind(".//{*}script")) and not list(root.iterfind(".//{*}b"))
    assert "&lt;b&gt;0&lt;/b&gt;" in picture


def test_the_page_allows_its_script_alone_and_loads_nothing(dot_bundle):
    page = html(item_map(open_bundle(dot_bundle)))

    assert page.count("<script") == 1
    assert "default-src 'none'" in page and "src=" not in page and "href=" not in page and "url(" not in page
    assert "evens 1" in page and "8 items" in page and "% of the variance" in page


def test_all_points_and_words_stay_inside_the_picture():
    root = ET.fromstring(svg(item_map(open_bundle(demo.BUNDLE))))  # noqa: S314 -- our own

    dots = [dot for dot in root.iterfind(".//{*}g/{*}circle") if dot.find("{*}title") is not None]
    assert len(dots) == 300
    assert all(44 <= float(dot.get("cx")) <= 704 and 62 <= float(dot.get("cy")) <= 722 for dot in dots)


# Tables


def test_the_tables_are_those_that_were_exported(dot_bundle):
    users, items = embedding_tables(open_bundle(dot_bundle))

    assert isinstance(items, np.memmap)
    assert [users.tolist(), items.tolist()] == [table.tolist() for table in even_likes_even()]


# The command


def test_lengths_of_a_dot_bundle_are_quartiles(dot_bundle):
    shown = recoserve("inspect", dot_bundle, COLUMNS="200").stdout

    assert "users: min 1, 25 % 1, median 1, 75 % 1, max 1; 0 of 6 are zero" in shown
    assert "items: min 0.9125" in shown


def test_lengths_of_a_cosine_bundle_are_all_one(bundle):
    assert "items: unit length: cosine; 0 of 8 are zero" in recoserve("inspect", bundle, COLUMNS="200").stdout
    document = json.loads(recoserve("inspect", bundle, "--json").stdout)
    assert document["vectors"]["item"]["unit"] is True


def test_nearest_by_id_and_by_title(bundle):
    done = recoserve("inspect", bundle, "--nearest", 0, "--nearest", "item 3", "--json")

    zero, three = json.loads(done.stdout)["nearest"]
    assert (zero["item_id"], three["title"]) == (0, "Item 3")
    assert [item["item_id"] for item in three["items"]] == [1, 5, 7, 0, 2, 4, 6]
    assert three["items"][0] == {"item_id": 1, "title": "Item 1", "score": 1.0}
    assert "nearest to Item 3 (3)" in recoserve("inspect", bundle, "--nearest", "ITEM 3").stdout


def test_a_text_that_names_no_item_or_many_is_refused(bundle):
    assert_mistake(recoserve("inspect", bundle, "--nearest", "item"), "8 titles match 'item'", "7: Item 7")
    assert_mistake(recoserve("inspect", bundle, "--nearest", "8"), "no item has the id '8'")


@pytest.mark.parametrize(("name", "start"), [("map.svg", "<svg"), ("map.html", "<!DOCTYPE html>")])
def test_the_map_is_written_to_the_named_file(bundle, tmp_path, name, start):
    done = recoserve("inspect", bundle, "--map", tmp_path / name, "--json")

    shown = json.loads(done.stdout)["map"]
    assert (shown["drawn"], shown["items"], shown["file"]) == (8, 8, str(tmp_path / name))
    assert (tmp_path / name).read_text().startswith(start)


def test_a_map_is_an_html_page_or_an_svg_picture(bundle, tmp_path):
    assert recoserve("inspect", bundle, "--map", tmp_path / "map.png").returncode == 2
    assert_mistake(recoserve("inspect", bundle, "--map", tmp_path / "nowhere" / "map.svg"), "No such file or directory")


def test_a_model_without_vectors_has_none_to_show(own_bundle, tmp_path):
    reseal(own_bundle, dim=None, similarity="model")

    assert "no vectors" in recoserve("inspect", own_bundle).stdout
    assert json.loads(recoserve("inspect", own_bundle, "--json").stdout)["vectors"] is None
    for options in (["--nearest", "0"], ["--map", tmp_path / "map.svg"]):
        assert_mistake(recoserve("inspect", own_bundle, *options), "this model is no dot product: it has no item vectors to show")
    assert not (tmp_path / "map.svg").exists()


def test_a_damaged_bundle_still_shows_its_manifest(own_bundle):
    (own_bundle / "golden.npz").unlink()

    assert "not shown: golden.npz: missing" in recoserve("inspect", own_bundle, COLUMNS="200").stdout
    assert_mistake(recoserve("inspect", own_bundle, "--nearest", "0"), "golden.npz: missing")
