"""From files to rows: columns, ids, repeated pairs, and what is held out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoserve.errors import FileInvalid
from recoserve_export.zoo.data.dataset import Dataset, held_out_counts, read_dataset

ITEMS = "movieId,title\n10,Ten\n20,Twenty\n30,Thirty\n"


@pytest.fixture
def read(tmp_path: Path):
    def reader(ratings: str | bytes, items: str | bytes = ITEMS) -> Dataset:
        for name, body in (("ratings.csv", ratings), ("items.csv", items)):
            (tmp_path / name).write_bytes(body if isinstance(body, bytes) else body.encode())
        return read_dataset(tmp_path / "ratings.csv", tmp_path / "items.csv")

    return reader


def pairs(dataset: Dataset) -> list[tuple[int | str, int | str]]:
    rows = zip(dataset.user_row, dataset.item_row, strict=True)
    return [(dataset.user_ids[user], dataset.item_ids[item]) for user, item in rows]


@pytest.mark.parametrize(
    "ratings",
    [
        "userId,movieId,rating,timestamp\n7,20,4.0,5\n3,10,1.5,6\n",
        "timestamp,Item_ID,user\n5,20,7\n6,10,3\n",
        "who,what,stars,when\n7,20,4,5\n3,10,1,6\n",
        "7,20,4,5\n3,10,1,6\n",
        "user_id;book_id;rating;timestamp\n7;20;4;5\n3;10;1;6\n",
        "\ufeffuserId\tmovieId\trating\ttimestamp\r\n7\t20\t4\t5\r\n\r\n3\t10\t1\t6\r\n",
    ],
    ids=["movielens", "named in any order", "by position", "no header", "semicolons", "tabs, BOM, CRLF, empty line"],
)
def test_the_same_two_ratings_are_read_from_every_usual_layout(read, ratings):
    dataset = read(ratings)

    assert pairs(dataset) == [(7, 20), (3, 10)]
    assert dataset.timestamp.tolist() == [5, 6]
    assert dataset.timed


def test_users_are_those_who_rated_and_items_are_all_that_are_known(read):
    dataset = read("userId,movieId\n9,99\n2,20\n")

    assert dataset.user_ids == [2, 9]
    assert dataset.item_ids == [10, 20, 30, 99]


def test_integer_ids_sort_as_numbers(read):
    assert read("user,item\n100,10\n10,10\n2,10\n").user_ids == [2, 10, 100]


def test_one_id_that_is_no_integer_makes_that_side_strings_and_leaves_the_other_side_alone(read):
    dataset = read("user,item\n10,10\nann,20\n2,30\n")

    assert dataset.user_ids == ["10", "2", "ann"]
    assert dataset.item_ids == [10, 20, 30]


@pytest.mark.parametrize("user", ["007", "+7", "-0", "7.0", "9223372036854775808"])
def test_an_id_that_would_not_survive_as_an_integer_stays_a_string(read, user):
    assert [user] == read(f"user,item\n{user},10\n").user_ids


def test_without_a_time_column_the_place_in_the_file_is_the_time(read):
    dataset = read("user,item\n1,30\n1,10\n")

    assert dataset.timestamp.tolist() == [0, 1]
    assert not dataset.timed


def test_of_a_repeated_pair_the_latest_stays_and_of_equally_late_ones_the_last_in_the_file(read):
    dataset = read("user,item,rating,timestamp\n1,10,1,50\n1,20,1,7\n1,10,2,40\n1,20,3,7\n")

    assert pairs(dataset) == [(1, 10), (1, 20)]
    assert dataset.timestamp.tolist() == [50, 7]


def test_the_last_fifth_of_each_user_by_time_is_held_out(read):
    rows = "".join(f"1,{item},3,{100 - item}\n" for item in range(10))
    split = read("user,item,rating,timestamp\n" + rows + "2,4,3,1\n2,5,3,2\n3,6,3,1\n", "item\n0\n").split(0.2)

    late = sorted(zip(split.held_out.user.tolist(), split.held_out.item.tolist(), strict=True))
    assert late == [(0, 0), (0, 1), (1, 5)]


def test_of_two_interactions_at_the_same_second_the_later_in_the_file_is_held_out(read):
    split = read("user,item,rating,timestamp\n1,30,3,8\n1,10,3,8\n").split(0.5)

    assert split.held_out.item.tolist() == [0]
    assert split.train.item.tolist() == [2]


def test_one_interaction_is_never_held_out_and_one_is_always_left_to_learn_from():
    counts = np.array([1, 2, 3, 5, 10, 15, 100])

    assert held_out_counts(counts, 0.2).tolist() == [0, 1, 1, 1, 2, 3, 20]
    assert held_out_counts(counts, 0.999).tolist() == [0, 1, 2, 4, 9, 14, 99]
    assert held_out_counts(np.array([100]), 0.29).tolist() == [29], "0.29 · 100 is 28.999… in binary"


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=80), st.floats(0.01, 0.99)
)
def test_a_split_loses_nothing_repeats_nothing_and_never_holds_out_the_earlier_of_two(triples, share):
    triples = list({(user, item): (user, item, time) for user, item, time in triples}.values())
    user, item, time = (np.array(column, np.int64) for column in zip(*triples, strict=True))
    dataset = Dataset(list(range(5)), list(range(31)), user, item, time, True)
    split = dataset.split(share)

    parts = [set(zip(part.user.tolist(), part.item.tolist(), strict=True)) for part in (split.train, split.held_out)]
    assert set(zip(user.tolist(), item.tolist(), strict=True)) == parts[0] | parts[1]
    assert len(user) == len(split.train) + len(split.held_out)
    when = {(user, item): time for user, item, time in triples}
    for person in range(5):
        early, late = ([when[pair] for pair in part if pair[0] == person] for part in parts)
        assert not late or max(early) <= min(late)


@pytest.mark.parametrize(
    ("ratings", "says"),
    [
        ("", "ratings.csv is empty"),
        ("userId,movieId\n", "no rows"),
        ("userId,title\n1,Ten\n", "line 1: no item column among userId, title"),
        ("title,movieId\nTen,1\n", "line 1: no user column"),
        ("userId\n1\n", "line 1: no item column"),
        ("user,item,rating\n1,10,4\n1,20,good\n", "line 3: rating 'good' is not a number"),
        ("user,item,rating\n1,10,nan\n", "line 2: rating 'nan' is not a number"),
        ("user,item,rating\n1,10,1e999\n", "line 2: rating '1e999' is not a number"),
        ("user,item,timestamp\n1,10,2020-01-01\n", "line 2: timestamp '2020-01-01' is not a number"),
        ("user,item,timestamp\n1,10,1e30\n", "line 2: timestamp 1e30 is too large"),
        ("user,item,rating\n1,10\n", "line 2: 2 columns where 3 are needed"),
        ("user,item\n1,10\n,20\n", "line 3: the user id is empty"),
        ("user,item\n1,\n", "line 2: the item id is empty"),
        ("user,item\n1,11\n2,12\n", "no item of"),
        (b"user,item\n1,\xe9t\xe9\n", "is not UTF-8"),
        ('user,item\n1,"' + "x" * 200_000 + '"\n', "not CSV"),
    ],
)
def test_a_ratings_file_that_cannot_be_used_is_refused_with_its_line_and_the_way_to_mend_it(read, ratings, says):
    with pytest.raises(FileInvalid, match=says.replace("(", r"\(")):
        read(ratings)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ("", "items.csv is empty"),
        ("movieId,title\n", "a header and no rows"),
        ("movieId,title\n10,Ten\n20,Twenty\n10,Again\n", "line 4: item 10 stands in line 2 already"),
        ("title,movieId\nTen\n", "line 2: 1 columns where 2 are needed"),
        ("movieId,title\n,Ten\n", "line 2: the item id is empty"),
    ],
)
def test_an_items_file_that_cannot_be_used_is_refused_with_its_line_and_the_way_to_mend_it(read, items, says):
    with pytest.raises(FileInvalid, match=says):
        read("user,item\n1,10\n", items)


def test_the_item_id_column_is_found_by_name_and_is_the_first_where_no_name_is_known(read):
    assert read("user,item\n1,10\n", "title,id\nTen,10\nTwenty,20\n").item_ids == [10, 20]
    assert read("user,item\n1,10\n", "number,title\n10,Ten\n20,Twenty\n").item_ids == [10, 20]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileInvalid, match=r"can't read .*nowhere\.csv: No such file"):
        read_dataset(tmp_path / "ratings.csv", tmp_path / "nowhere.csv")
