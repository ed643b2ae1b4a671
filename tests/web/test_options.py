"""Filters, diversity, fallbacks, explanations and histories: their answers, their errors, and those of bundles that lack them."""

import json

import pytest

from recoserve.scheduling.loader import load_model
from tests.web.evens import METADATA, bodies
from tests.web.http import Application, assert_problem, item_ids

FILTERED = ["/recommend", "/recommend/batch", "/recommend/history", "/similar/items"]
DIVERSE = ["/recommend", "/recommend/batch", "/recommend/history"]
ALL_ROWS = list(range(8))


@pytest.fixture(scope="module")
def service(even_bundles):
    with Application(*(lambda folder=folder: load_model(folder) for folder in even_bundles), max_list_ids=20) as application:
        yield application.wait_ready()


def request_with(endpoint, **options):
    """A valid request with no options but these."""
    required = {"user_id", "user_ids", "item_ids", "item_id"}
    return {**{field: value for field, value in bodies()[endpoint].items() if field in required}, **options}


@pytest.mark.parametrize(
    ("item_filter", "rows"),
    [
        ({}, ALL_ROWS),
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
        ({"year": {"lte": 10**400}}, ALL_ROWS),
        ({"year": {"gte": 1e308}}, []),
        ({"length": {"any": [0.5, 7.5, 3]}}, [0, 7]),
        ({"classic": {"eq": True}}, [0, 1]),
        ({"classic": {"none": [True]}}, [2, 3, 4, 5, 6, 7]),
        ({"note": {"eq": "rare"}}, [5]),
        ({"note": {"none": ["rare"]}}, [0, 1, 2, 3, 4, 6, 7]),
        ({"note": {"gte": ""}}, [5]),
        ({"genres": {"any": ["no such value"]}}, []),
        ({"genres": {"none": ["no such value"]}}, ALL_ROWS),
        ({"year": {"gte": 1995, "lte": 1992}}, []),
        ({"genres": {"eq": "even", "none": ["even"]}}, []),
    ],
    ids=json.dumps,
)
def test_an_item_passes_a_filter_if_every_clause_of_every_column_holds(service, item_filter, rows):
    """A filter that no item passes is no error; an item without a value in a column passes `none` alone."""
    assert rows == sorted(item_ids(service.recommend(user_id=0, filter=item_filter)))
    (result,) = service.post("/recommend/batch", {"user_ids": [0], "filter": item_filter}).json()["results"]
    assert rows == sorted(item["item_id"] for item in result["items"])
    history = service.post("/recommend/history", {"item_ids": [0], "exclude_seen": False, "filter": item_filter})
    assert rows == sorted(item_ids(history))
    similar = service.post("/similar/items", {"item_id": 0, "filter": item_filter})
    assert [row for row in rows if row != 0] == sorted(item_ids(similar))


WRONG_FILTERS = {
    "no object": ([], "/filter"),
    "a word": ("genres", "/filter"),
    "a clause without an operator": ({"year": 1990}, "/filter/year"),
    "no clauses": ({"year": {}}, "/filter/year"),
    "null clauses": ({"year": None}, "/filter/year"),
    "a null value": ({"year": {"gte": None}}, "/filter/year"),
    "an unknown operator": ({"year": {"like": 1}}, "/filter/year"),
    "an operator of another case": ({"year": {"GTE": 1}}, "/filter/year"),
    "an unknown column": ({"secret": {"eq": 1}}, "/filter"),
    "a column of another case": ({"Year": {"eq": 1}}, "/filter"),
    "an unknown column beside a known one": ({"year": {"eq": 1}, "secret": {"eq": 1}}, "/filter"),
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
    "a long value": ({"title": {"eq": "secret" * 1000}}, "/filter/title/eq"),
    "a long column": ({"secret" * 1000: {"eq": []}}, "/filter"),
    "a column that can't be printed": ({"secret\x00": {"eq": []}}, "/filter"),
}


@pytest.mark.parametrize("endpoint", FILTERED)
@pytest.mark.parametrize("case", WRONG_FILTERS)
def test_a_filter_that_does_not_fit_the_columns_is_refused_with_a_pointer(service, endpoint, case):
    """The problem is small, doesn't repeat the request, and says "object", as JSON does, not "dictionary"."""
    item_filter, pointer = WRONG_FILTERS[case]
    response = service.post(endpoint, request_with(endpoint, filter=item_filter))

    assert_problem(response, 422, "invalid-request", pointer)
    assert "secret" not in response.text
    assert "dictionary" not in response.text


def test_numbers_beyond_a_double_are_refused_in_a_filter(service):
    """1e999 is valid JSON, and parses to infinity."""
    for clauses in (b'{"gte": 1e999}', b'{"any": [-1e999]}'):
        response = service.post("/recommend", b'{"user_id": 0, "filter": {"year": ' + clauses + b"}}")
        assert_problem(response, 422, "invalid-request")


def test_at_most_20_errors_of_a_filter_are_listed(service):
    item_filter = {"year": {"gte": "a", "any": [True] * 19}, "title": {"eq": 1}}

    assert len(assert_problem(service.recommend(user_id=0, filter=item_filter), 422, "invalid-request")["errors"]) == 20


@pytest.mark.parametrize("endpoint", DIVERSE)
@pytest.mark.parametrize("diversity", ["-0.1", "1.0001", '"0.5"', "true", "null", "[0.5]", "1e999"])
def test_diversity_is_a_number_from_0_to_1(service, endpoint, diversity):
    body = json.dumps(request_with(endpoint))[:-1] + f', "diversity": {diversity}}}'

    assert_problem(service.post(endpoint, body.encode()), 422, "invalid-request", "/diversity")


def test_diversity_prefers_a_dissimilar_item_to_one_of_higher_score(service):
    """The best item, then an odd one, whose cosine to it is 0; then, as every item is like one of these, the next one by rank."""
    body = {"user_id": 0, "k": 3, "diversity": 1}
    items = service.recommend(body).json()["items"]

    assert [(item["item_id"], item["score"]) for item in items] == [(0, 1.0), (1, 0.0), (2, 1.0)]


@pytest.mark.parametrize("diversity", [0.3, 1])
def test_diversity_among_one_candidate_or_none_gives_that_one_or_none(service, diversity):
    assert item_ids(service.recommend(user_id=0, diversity=diversity, candidate_item_ids=[3])) == [3]
    assert item_ids(service.recommend(user_id=0, diversity=diversity, candidate_item_ids=[3], exclude_item_ids=[3])) == []
    assert item_ids(service.recommend(user_id=0, diversity=diversity, filter={"note": {"eq": "rare"}})) == [5]
    assert item_ids(service.recommend(user_id=0, diversity=diversity, k=1)) == [0]


@pytest.mark.parametrize(("model", "unknown_user"), [("rows", 99), ("integers", 12), ("strings", "nobody")])
def test_the_popular_fallback_ranks_by_number_of_interactions_under_all_other_options(service, model, unknown_user):
    """Item 4 has three, items 0, 1 and 6 one, the others none; equal numbers stand in row order."""
    rows = {item_id: row for row, item_id in enumerate(bodies(model)["/recommend"]["candidate_item_ids"])}

    def popular(**options):
        response = service.recommend(user_id=unknown_user, fallback="popular", model=model, **options)
        assert (response.json()["fallback"], response.json()["user_id"]) == ("popular", unknown_user)
        return [(rows[item["item_id"]], item["score"]) for item in response.json()["items"]]

    assert popular(k=5) == [(4, 3.0), (0, 1.0), (1, 1.0), (6, 1.0), (2, 0.0)]
    assert popular(k=2, filter={"genres": {"eq": "even"}}, exclude_seen=True) == [(4, 3.0), (0, 1.0)]
    assert popular(k=3, diversity=1) == [(4, 3.0), (1, 1.0), (0, 1.0)]
    known_user = bodies(model)["/recommend"]["user_id"]
    response = service.recommend(user_id=known_user, fallback="popular", model=model)
    assert "fallback" not in response.json() and rows[item_ids(response)[0]] == 0


def test_the_fallback_of_a_batch_is_for_its_unknown_users_alone(service):
    answer = service.post("/recommend/batch", {"user_ids": [99, 0, 2**64], "k": 1, "fallback": "popular", "strict": True}).json()

    assert answer["missing_user_ids"] == []
    results = [(result["user_id"], result["items"][0]["item_id"], result.get("fallback")) for result in answer["results"]]
    assert results == [(99, 4, "popular"), (0, 0, None), (2**64, 4, "popular")]


@pytest.mark.parametrize("fallback", ["random", "", True, 1, ["popular"]])
def test_another_fallback_is_refused(service, fallback):
    for endpoint in ("/recommend", "/recommend/batch"):
        assert_problem(service.post(endpoint, request_with(endpoint, fallback=fallback)), 422, "invalid-request", "/fallback")


def test_an_id_of_another_type_is_refused_in_spite_of_a_fallback(service):
    assert_problem(service.recommend(user_id="99", fallback="popular"), 422, "invalid-request", "/user_id")


def explanation(item):
    return [(reason["item_id"], reason["cosine"], reason["share"]) for reason in item["explanation"]]


def test_an_explanation_lists_the_users_own_items_with_cosine_and_share(service):
    """User 0 has seen items 0 and 4, user 3 items 1 and 4. Only the odd one explains an odd item, and no item explains itself."""
    even, odd = (service.recommend(user_id=user, include=["explanation"]).json()["items"] for user in (0, 3))

    assert explanation(even[1]) == [(0, 1.0, 0.5), (4, 1.0, 0.5)]
    assert explanation(even[0]) == [(4, 1.0, 1.0)]
    assert {item["item_id"]: explanation(item) for item in odd}[3] == [(1, 1.0, 1.0)]
    explained = service.post("/explain", {"user_id": 3, "item_id": 3, "include": ["metadata"]}).json()
    assert explained["items"] == [{"item_id": 1, "cosine": 1.0, "share": 1.0, "metadata": METADATA[1]}]
    assert (explained["score"], explained["user_id"], explained["item_id"]) == (1.0, 3, 3)
    assert len(service.post("/explain", {"user_id": 0, "item_id": 2, "k": 1}).json()["items"]) == 1


def test_a_history_is_explained_by_its_liked_items(service):
    """An item that stands twice in it explains once; a disliked one explains nothing."""
    body = {"item_ids": [0, 0, 3], "negative_item_ids": [1], "include": ["explanation"], "k": 1}
    (item,) = service.post("/recommend/history", body).json()["items"]

    assert (item["item_id"], explanation(item)) == (2, [(0, 1.0, 1.0)])


def test_a_user_without_history_has_an_empty_explanation(service):
    assert service.post("/explain", {"user_id": 1, "item_id": 3}).json()["items"] == []
    items = service.recommend(user_id=1, include=["explanation"]).json()["items"]
    popular = service.recommend(user_id=99, fallback="popular", include=["explanation"]).json()["items"]
    assert len(items) == len(popular) == 8
    assert all(item["explanation"] == [] for item in [*items, *popular])


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
def test_a_history_without_a_usable_direction_is_refused(service, case):
    body, pointer = HISTORY_FAULTS[case]

    assert_problem(service.post("/recommend/history", body), 422, "invalid-request", pointer)


@pytest.mark.parametrize(("number", "status", "kind"), [("NaN", 400, "malformed-json"), ("1e999", 422, "invalid-request")])
@pytest.mark.parametrize("field", ["vector", "weights"])
def test_numbers_that_are_not_finite_are_refused(service, field, number, status, kind):
    items = "" if field == "vector" else '"item_ids": [0, 1], '
    body = f'{{{items}"{field}": [1, {number}]}}'

    assert_problem(service.post("/recommend/history", body.encode()), status, kind)


def test_a_history_ranks_the_other_items_in_the_direction_of_its_items(service):
    """Its own items come back only if `exclude_seen` is false; weights and dislikes turn the direction."""

    def history(**body):
        return item_ids(service.post("/recommend/history", body))

    assert history(item_ids=[0]) == [2, 4, 6, 1, 3, 5, 7]
    assert history(item_ids=[0], exclude_seen=False, k=3) == [0, 2, 4]
    assert history(item_ids=[0, 1], weights=[1, 2], k=2) == [3, 5]
    assert history(item_ids=[0, 1], weights=[3e38, 5e-324], k=2) == [2, 4]
    assert history(item_ids=[0, 1], negative_item_ids=[2], k=2) == [3, 5]
    assert history(vector=[0, 3.4e38], k=2) == history(vector=[0, 1e-40], k=2) == [1, 3]


BEYOND_THE_BUNDLE = {
    "a fallback without interactions": ("bare", "/recommend", {"user_id": 99, "fallback": "popular"}, "/fallback"),
    "a batch's fallback": ("bare", "/recommend/batch", {"user_ids": [0, 99], "fallback": "popular"}, "/fallback"),
    "an explanation without interactions": ("bare", "/recommend", {"user_id": 0, "include": ["explanation"]}, "/include"),
    "explain without interactions": ("bare", "/explain", {"user_id": 0, "item_id": 1}, None),
    "a filter without metadata": ("bare", "/recommend", {"user_id": 0, "filter": {"year": {"eq": 1}}}, "/filter"),
    "a filter of the old format": ("format-1", "/recommend", {"user_id": 10, "filter": {"title": {"eq": "Item 2"}}}, "/filter"),
    "a history of the old format": ("format-1", "/recommend/history", {"item_ids": ["item-1"]}, None),
    "a vector of the old format": ("format-1", "/recommend/history", {"vector": [1, 0]}, None),
}


@pytest.mark.parametrize("case", BEYOND_THE_BUNDLE)
def test_if_a_bundle_lacks_what_a_request_needs_the_problem_says_to_export_it_again(service, case):
    model, endpoint, body, pointer = BEYOND_THE_BUNDLE[case]
    document = assert_problem(service.post(endpoint, {**body, "model": model}), 422, "invalid-request", pointer)

    details = [document["detail"], *(error["detail"] for error in document.get("errors", []))]
    assert any("export it again" in detail for detail in details)


def test_a_bundle_of_vectors_alone_answers_what_needs_neither_metadata_nor_interactions(service):
    """Metadata are then empty objects, `exclude_seen` leaves nothing out, and known users need no fallback."""
    options = {"include": ["metadata"], "exclude_seen": True, "filter": {}, "diversity": 0.1, "fallback": "popular"}
    items = service.recommend(user_id=0, k=2, model="bare", **options).json()["items"]
    history = {"item_ids": [0], "include": ["explanation"], "k": 2, "model": "bare"}

    assert [item["metadata"] for item in items] == [{}, {}]
    assert [explanation(item) for item in service.post("/recommend/history", history).json()["items"]] == [[(0, 1.0, 1.0)]] * 2
    assert item_ids(service.post("/similar/items", {"item_id": 1, "k": 2, "model": "bare"})) == [3, 5]


def test_a_bundle_of_format_1_answers_what_needs_no_newer_graph(service):
    """Users 10 to 15, items item-0 to item-7; user 10 has seen item-0 and item-4."""
    even = ["item-0", "item-2", "item-4", "item-6"]

    def post(endpoint, **body):
        return service.post(endpoint, {**body, "model": "format-1"})

    assert item_ids(post("/similar/items", item_id="item-0", k=3)) == even[1:]
    assert item_ids(post("/similar/items", item_id="item-0", candidate_item_ids=["item-1", *even[:2]])) == ["item-2", "item-1"]
    users = post("/similar/users", user_id=10, k=3).json()["users"]
    assert [user["user_id"] for user in users] == [12, 14, 11]
    assert [item["score"] for item in post("/score", user_id=10, item_ids=["item-1", "item-2"]).json()["items"]] == [0, 1]
    reasons = post("/explain", user_id=10, item_id="item-2").json()["items"]
    assert {(reason["item_id"], reason["share"]) for reason in reasons} == {("item-0", 0.5), ("item-4", 0.5)}
    assert len({item_ids(post("/recommend", user_id=10, diversity=1, k=2))[1], *even}) == 5
    (result,) = post("/recommend/batch", user_ids=[10], k=2, exclude_seen=True).json()["results"]
    assert [item["item_id"] for item in result["items"]] == ["item-2", "item-6"]
    assert len(item_ids(post("/recommend", user_id=99, fallback="popular"))) == 8
