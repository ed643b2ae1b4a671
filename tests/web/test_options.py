"""Filters, diversity, fallbacks, explanations and histories: what they answer, what they refuse, and what a bundle can't do."""

import json

import pytest

from recoserve.scheduling.loader import load_model
from tests.web.evens import METADATA, bodies
from tests.web.http import Application, assert_problem, item_ids

FILTERED = ["/recommend", "/recommend/batch", "/recommend/history", "/similar/items"]
DIVERSE = ["/recommend", "/recommend/batch", "/recommend/history"]
ALL = list(range(8))


@pytest.fixture(scope="module")
def service(even_bundles):
    with Application(*(lambda path=path: load_model(path) for path in even_bundles), max_list_ids=20) as application:
        yield application.wait_ready()


def plain(endpoint, **options):
    """A request without any option but those given."""
    kept = {"user_id", "user_ids", "item_ids", "item_id"}
    return {**{field: value for field, value in bodies()[endpoint].items() if field in kept}, **options}


def passing(service, wanted):
    """What a filter lets pass, of all items, in row order."""
    return sorted(item_ids(service.recommend(user_id=0, filter=wanted)))


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({}, ALL),
        ({"genres": {"any": ["even"]}}, [0, 2, 4, 6]),
        ({"genres": {"in": ["even", "low"]}}, [0, 1, 2, 3, 4, 6]),
        ({"genres": {"all": ["odd", "low"]}}, [1, 3]),
        ({"genres": {"none": ["even", "low"]}}, [5, 7]),
        ({"genres": {"eq": "low"}}, [0, 1, 2, 3]),
        ({"title": {"gte": "Item 6"}}, [6, 7]),
        ({"title": {"lte": "Item 1"}}, [0, 1]),
        ({"year": {"gte": 1993, "lte": 1995}}, [3, 4, 5]),
        ({"year": {"eq": 1993.0}}, [3]),
        ({"year": {"gte": 1992.5}, "genres": {"any": ["low"]}}, [3]),
        ({"year": {"lte": 10**400}}, ALL),
        ({"year": {"gte": 1e308}}, []),
        ({"length": {"any": [0.5, 7.5, 3]}}, [0, 7]),
        ({"classic": {"eq": True}}, [0, 1]),
        ({"classic": {"none": [True]}}, [2, 3, 4, 5, 6, 7]),
        ({"note": {"eq": "rare"}}, [5]),
        ({"note": {"none": ["rare"]}}, [0, 1, 2, 3, 4, 6, 7]),
        ({"note": {"gte": ""}}, [5]),
        ({"genres": {"any": ["no such value"]}}, []),
        ({"genres": {"none": ["no such value"]}}, ALL),
        ({"year": {"gte": 1995, "lte": 1992}}, []),
        ({"genres": {"eq": "even", "none": ["even"]}}, []),
    ],
    ids=json.dumps,
)
def test_a_filter_lets_pass_what_its_clauses_say(service, wanted, rows):
    """Joined by and; what nothing passes is no error; an item without a value passes `none` alone."""
    assert rows == passing(service, wanted)
    (one,) = service.post("/recommend/batch", {"user_ids": [0], "filter": wanted}).json()["results"]
    assert rows == sorted(item["item_id"] for item in one["items"])
    history = service.post("/recommend/history", {"item_ids": [0], "exclude_seen": False, "filter": wanted})
    assert rows == sorted(item_ids(history))
    near = service.post("/similar/items", {"item_id": 0, "filter": wanted})
    assert [row for row in rows if row != 0] == sorted(item_ids(near))


WRONG_FILTERS = {
    "no object": ([], "/filter"),
    "a word": ("genres", "/filter"),
    "a clause without an operator": ({"year": 1990}, "/filter/year"),
    "no clauses": ({"year": {}}, "/filter/year"),
    "null clauses": ({"year": None}, "/filter/year"),
    "a null value": ({"year": {"gte": None}}, "/filter/year"),
    "an unknown operator": ({"year": {"like": 1}}, "/filter/year"),
    "an operator of another case": ({"year": {"GTE": 1}}, "/filter/year"),
    "an unknown column": ({"sekret": {"eq": 1}}, "/filter"),
    "a column of another case": ({"Year": {"eq": 1}}, "/filter"),
    "an unknown column beside a known one": ({"year": {"eq": 1}, "sekret": {"eq": 1}}, "/filter"),
    "a column of two types": ({"mixed": {"eq": 1}}, "/filter/mixed"),
    "a string for a number": ({"year": {"gte": "1990"}}, "/filter/year/gte"),
    "a boolean for a number": ({"year": {"eq": True}}, "/filter/year/eq"),
    "a number for a string": ({"title": {"lte": 1}}, "/filter/title/lte"),
    "a number for a boolean": ({"classic": {"eq": 1}}, "/filter/classic/eq"),
    "an order of booleans": ({"classic": {"gte": True}}, "/filter/classic/gte"),
    "a wrong one among right ones": ({"genres": {"any": ["even", "odd", 3]}}, "/filter/genres/any/2"),
    "a boolean among numbers": ({"year": {"none": [1990, False]}}, "/filter/year/none/1"),
    "an empty list": ({"genres": {"any": []}}, "/filter/genres/any"),
    "nothing to be in": ({"genres": {"in": []}}, "/filter/genres/in"),
    "a value for a list": ({"genres": {"all": "even"}}, "/filter/genres/all"),
    "a list for a value": ({"genres": {"eq": ["even"]}}, "/filter/genres/eq"),
    "a list in a list": ({"genres": {"any": [["even"]]}}, "/filter/genres/any/0"),
    "an object for a value": ({"year": {"gte": {"a": 1}}}, "/filter/year/gte"),
    "too many values": ({"year": {"any": list(range(21))}}, "/filter/year/any"),
    "too many values in all": ({"year": {"any": list(range(15)), "none": list(range(15))}}, "/filter"),
    "too many columns": ({f"column {number}": {"eq": 1} for number in range(65)}, "/filter"),
    "a long value": ({"title": {"eq": "sekret" * 1000}}, "/filter/title/eq"),
    "a long column": ({"sekret" * 1000: {"eq": []}}, "/filter"),
    "a column that can't be printed": ({"sekret\x00": {"eq": []}}, "/filter"),
}


@pytest.mark.parametrize("endpoint", FILTERED)
@pytest.mark.parametrize("case", WRONG_FILTERS)
def test_a_filter_that_does_not_fit_is_refused_by_its_place(service, endpoint, case):
    """What was sent is not repeated, the answer stays small and is in JSON's words, not Python's."""
    wanted, pointer = WRONG_FILTERS[case]
    response = service.post(endpoint, plain(endpoint, filter=wanted))

    assert_problem(response, 422, "invalid-request", pointer)
    assert "sekret" not in response.text
    assert "dictionary" not in response.text


def test_numbers_beyond_a_double_are_refused_in_a_filter(service):
    """Case 21: 1e999 parses to infinity."""
    for clauses in (b'{"gte": 1e999}', b'{"any": [-1e999]}'):
        response = service.post("/recommend", b'{"user_id": 0, "filter": {"year": ' + clauses + b"}}")
        assert_problem(response, 422, "invalid-request")


def test_every_fault_of_a_filter_is_told_up_to_20(service):
    wanted = {"year": {"gte": "a", "any": [True] * 19}, "title": {"eq": 1}}

    assert len(assert_problem(service.recommend(user_id=0, filter=wanted), 422, "invalid-request")["errors"]) == 20


@pytest.mark.parametrize("endpoint", DIVERSE)
@pytest.mark.parametrize("diversity", ["-0.1", "1.0001", '"0.5"', "true", "null", "[0.5]", "1e999"])
def test_diversity_is_a_number_from_0_to_1(service, endpoint, diversity):
    body = json.dumps(plain(endpoint))[:-1] + f', "diversity": {diversity}}}'

    assert_problem(service.post(endpoint, body.encode()), 422, "invalid-request", "/diversity")


def test_diversity_trades_the_score_for_what_is_unlike(service):
    """The best first, then an odd item, whose cosine to it is 0, then what is left by rank."""
    body = {"user_id": 0, "k": 3, "diversity": 1}
    items = service.recommend(body).json()["items"]

    assert [(item["item_id"], item["score"]) for item in items] == [(0, 1.0), (1, 0.0), (2, 1.0)]


@pytest.mark.parametrize("diversity", [0.3, 1])
def test_diversity_with_one_candidate_or_none_is_that_one_or_none(service, diversity):
    assert item_ids(service.recommend(user_id=0, diversity=diversity, candidate_item_ids=[3])) == [3]
    assert item_ids(service.recommend(user_id=0, diversity=diversity, candidate_item_ids=[3], exclude_item_ids=[3])) == []
    assert item_ids(service.recommend(user_id=0, diversity=diversity, filter={"note": {"eq": "rare"}})) == [5]
    assert item_ids(service.recommend(user_id=0, diversity=diversity, k=1)) == [0]


@pytest.mark.parametrize(("model", "stranger"), [("rows", 99), ("integers", 12), ("strings", "nobody")])
def test_a_fallback_is_what_most_users_have_interacted_with(service, model, stranger):
    """Item 4 thrice, items 0, 1 and 6 once, the others never, ties by row; under all other options."""
    rows = {external: row for row, external in enumerate(bodies(model)["/recommend"]["candidate_item_ids"])}

    def popular(**options):
        response = service.recommend(user_id=stranger, fallback="popular", model=model, **options)
        assert (response.json()["fallback"], response.json()["user_id"]) == ("popular", stranger)
        return [(rows[item["item_id"]], item["score"]) for item in response.json()["items"]]

    assert popular(k=5) == [(4, 3.0), (0, 1.0), (1, 1.0), (6, 1.0), (2, 0.0)]
    assert popular(k=2, filter={"genres": {"eq": "even"}}, exclude_seen=True) == [(4, 3.0), (0, 1.0)]
    assert popular(k=3, diversity=1) == [(4, 3.0), (1, 1.0), (0, 1.0)]
    known = bodies(model)["/recommend"]["user_id"]
    answer = service.recommend(user_id=known, fallback="popular", model=model)
    assert "fallback" not in answer.json() and rows[item_ids(answer)[0]] == 0


def test_a_batch_falls_back_user_by_user(service):
    answer = service.post("/recommend/batch", {"user_ids": [99, 0, 2**64], "k": 1, "fallback": "popular", "strict": True}).json()

    assert answer["missing_user_ids"] == []
    found = [(one["user_id"], one["items"][0]["item_id"], one.get("fallback")) for one in answer["results"]]
    assert found == [(99, 4, "popular"), (0, 0, None), (2**64, 4, "popular")]


@pytest.mark.parametrize("fallback", ["random", "", True, 1, ["popular"]])
def test_another_fallback_is_refused(service, fallback):
    for endpoint in ("/recommend", "/recommend/batch"):
        assert_problem(service.post(endpoint, plain(endpoint, fallback=fallback)), 422, "invalid-request", "/fallback")


def test_an_id_of_another_type_falls_back_to_nothing(service):
    assert_problem(service.recommend(user_id="99", fallback="popular"), 422, "invalid-request", "/user_id")


def explanation(item):
    return [(reason["item_id"], reason["cosine"], reason["share"]) for reason in item["explanation"]]


def test_an_explanation_is_the_users_own_items_by_cosine_and_share(service):
    """User 0 has seen items 0 and 4, user 3 items 1 and 4: an odd item is explained by the odd one alone, and none by itself."""
    even, odd = (service.recommend(user_id=user, include=["explanation"]).json()["items"] for user in (0, 3))

    assert explanation(even[1]) == [(0, 1.0, 0.5), (4, 1.0, 0.5)]
    assert explanation(even[0]) == [(4, 1.0, 1.0)]
    assert {item["item_id"]: explanation(item) for item in odd}[3] == [(1, 1.0, 1.0)]
    whole = service.post("/explain", {"user_id": 3, "item_id": 3, "include": ["metadata"]}).json()
    assert whole["items"] == [{"item_id": 1, "cosine": 1.0, "share": 1.0, "metadata": METADATA[1]}]
    assert (whole["score"], whole["user_id"], whole["item_id"]) == (1.0, 3, 3)
    assert len(service.post("/explain", {"user_id": 0, "item_id": 2, "k": 1}).json()["items"]) == 1


def test_a_history_is_explained_by_its_own_items(service):
    """Whether or not they come twice; what is disliked explains nothing."""
    body = {"item_ids": [0, 0, 3], "negative_item_ids": [1], "include": ["explanation"], "k": 1}
    (item,) = service.post("/recommend/history", body).json()["items"]

    assert (item["item_id"], explanation(item)) == (2, [(0, 1.0, 1.0)])


def test_a_user_without_history_has_an_empty_explanation(service):
    assert service.post("/explain", {"user_id": 1, "item_id": 3}).json()["items"] == []
    items = service.recommend(user_id=1, include=["explanation"]).json()["items"]
    stranger = service.recommend(user_id=99, fallback="popular", include=["explanation"]).json()["items"]
    assert len(items) == len(stranger) == 8
    assert all(item["explanation"] == [] for item in [*items, *stranger])


HISTORY_FAULTS = {
    "neither items nor a vector": ({}, ""),
    "both": ({"item_ids": [0], "vector": [1, 0]}, ""),
    "dislikes alone": ({"negative_item_ids": [0]}, ""),
    "weights alone": ({"weights": [1]}, ""),
    "weights of a vector": ({"vector": [1, 0], "weights": [1]}, "/vector"),
    "dislikes beside a vector": ({"vector": [1, 0], "negative_item_ids": [0]}, "/vector"),
    "fewer weights than items": ({"item_ids": [0, 1], "weights": [1]}, "/weights"),
    "a weight of nothing": ({"item_ids": [0, 1], "weights": [1, 0]}, "/weights"),
    "a negative weight": ({"item_ids": [0, 1], "weights": [1, -1]}, "/weights"),
    "a weight beyond float32": ({"item_ids": [0, 1], "weights": [1, 1e39]}, "/weights/1"),
    "a weight that is a flag": ({"item_ids": [0, 1], "weights": [1, True]}, "/weights/1"),
    "no weights": ({"item_ids": [0], "weights": []}, "/weights"),
    "a vector that is zero": ({"vector": [0, -0.0]}, "/vector"),
    "a vector that float32 takes for zero": ({"vector": [1e-46, 0]}, "/vector"),
    "a vector too short": ({"vector": [1]}, "/vector"),
    "a vector too long": ({"vector": [1, 0, 0]}, "/vector"),
    "no vector": ({"vector": []}, "/vector"),
    "a number beyond float32": ({"vector": [1e39, 0]}, "/vector/0"),
    "a huge integer": ({"vector": [0, 10**400]}, "/vector/1"),
    "words": ({"vector": ["1", "0"]}, "/vector/0"),
    "nothing": ({"vector": [None, 0]}, "/vector/0"),
    "a vector that should explain": ({"vector": [1, 0], "include": ["explanation"]}, "/include"),
}


@pytest.mark.parametrize("case", HISTORY_FAULTS)
def test_a_history_that_says_nothing_is_refused(service, case):
    body, pointer = HISTORY_FAULTS[case]

    assert_problem(service.post("/recommend/history", body), 422, "invalid-request", pointer)


@pytest.mark.parametrize(("number", "status", "kind"), [("NaN", 400, "malformed-json"), ("1e999", 422, "invalid-request")])
@pytest.mark.parametrize("field", ["vector", "weights"])
def test_numbers_that_are_not_finite_are_refused(service, field, number, status, kind):
    items = "" if field == "vector" else '"item_ids": [0, 1], '
    body = f'{{{items}"{field}": [1, {number}]}}'

    assert_problem(service.post("/recommend/history", body.encode()), status, kind)


def test_a_history_is_what_its_items_point_at(service):
    """Own items are left out unless asked for; weights and dislikes turn the direction."""
    ask = lambda **body: item_ids(service.post("/recommend/history", body))  # noqa: E731

    assert ask(item_ids=[0]) == [2, 4, 6, 1, 3, 5, 7]
    assert ask(item_ids=[0], exclude_seen=False, k=3) == [0, 2, 4]
    assert ask(item_ids=[0, 1], weights=[1, 2], k=2) == [3, 5]
    assert ask(item_ids=[0, 1], weights=[3e38, 5e-324], k=2) == [2, 4]
    assert ask(item_ids=[0, 1], negative_item_ids=[2], k=2) == [3, 5]
    assert ask(vector=[0, 3.4e38], k=2) == ask(vector=[0, 1e-40], k=2) == [1, 3]


BEYOND = {
    "a fallback without interactions": ("bare", "/recommend", {"user_id": 99, "fallback": "popular"}, "/fallback"),
    "a batch's fallback": ("bare", "/recommend/batch", {"user_ids": [0, 99], "fallback": "popular"}, "/fallback"),
    "an explanation without interactions": ("bare", "/recommend", {"user_id": 0, "include": ["explanation"]}, "/include"),
    "explain without interactions": ("bare", "/explain", {"user_id": 0, "item_id": 1}, None),
    "a filter without metadata": ("bare", "/recommend", {"user_id": 0, "filter": {"year": {"eq": 1}}}, "/filter"),
    "a filter of the old format": ("format-1", "/recommend", {"user_id": 10, "filter": {"title": {"eq": "Item 2"}}}, "/filter"),
    "a history of the old format": ("format-1", "/recommend/history", {"item_ids": ["item-1"]}, None),
    "a vector of the old format": ("format-1", "/recommend/history", {"vector": [1, 0]}, None),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_a_bundle_lacks_is_told_with_what_to_do(service, case):
    model, endpoint, body, pointer = BEYOND[case]
    document = assert_problem(service.post(endpoint, {**body, "model": model}), 422, "invalid-request", pointer)

    told = [document["detail"], *(error["detail"] for error in document.get("errors", []))]
    assert any("export it again" in each for each in told)


def test_a_bare_bundle_does_all_that_needs_vectors_alone(service):
    """No metadata are empty objects, no interactions leave nothing out, and known users need no fallback."""
    options = {"include": ["metadata"], "exclude_seen": True, "filter": {}, "diversity": 0.1, "fallback": "popular"}
    items = service.recommend(user_id=0, k=2, model="bare", **options).json()["items"]
    history = {"item_ids": [0], "include": ["explanation"], "k": 2, "model": "bare"}

    assert [item["metadata"] for item in items] == [{}, {}]
    assert [explanation(item) for item in service.post("/recommend/history", history).json()["items"]] == [[(0, 1.0, 1.0)]] * 2
    assert item_ids(service.post("/similar/items", {"item_id": 1, "k": 2, "model": "bare"})) == [3, 5]


def test_an_old_bundle_does_all_that_needs_no_new_graph(service):
    """Users 10 to 15, items item-0 to item-7; row 0 has seen items 0 and 4."""
    even = ["item-0", "item-2", "item-4", "item-6"]

    def ask(endpoint, **body):
        return service.post(endpoint, {**body, "model": "format-1"})

    assert item_ids(ask("/similar/items", item_id="item-0", k=3)) == even[1:]
    assert item_ids(ask("/similar/items", item_id="item-0", candidate_item_ids=["item-1", *even[:2]])) == ["item-2", "item-1"]
    users = ask("/similar/users", user_id=10, k=3).json()["users"]
    assert [user["user_id"] for user in users] == [12, 14, 11]
    assert [item["score"] for item in ask("/score", user_id=10, item_ids=["item-1", "item-2"]).json()["items"]] == [0, 1]
    reasons = ask("/explain", user_id=10, item_id="item-2").json()["items"]
    assert {(reason["item_id"], reason["share"]) for reason in reasons} == {("item-0", 0.5), ("item-4", 0.5)}
    assert len({item_ids(ask("/recommend", user_id=10, diversity=1, k=2))[1], *even}) == 5
    (one,) = ask("/recommend/batch", user_ids=[10], k=2, exclude_seen=True).json()["results"]
    assert [item["item_id"] for item in one["items"]] == ["item-2", "item-6"]
    assert len(item_ids(ask("/recommend", user_id=99, fallback="popular"))) == 8
