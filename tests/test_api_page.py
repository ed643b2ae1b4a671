"""docs/api.md: every example is sent as it stands to a real demo service, and every field has its row."""

import json
import math
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from recoserve.demo import BUNDLE
from recoserve.search.filters import OPERATORS
from recoserve.settings import Settings
from recoserve.web import routes, schemas
from tests.server import serving

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
BLOCK = r"```{}\n((?:(?!```).)*)```"
EXAMPLES = re.findall(BLOCK.format("bash") + r"\n\n" + BLOCK.format("json"), PAGE, re.DOTALL)
SCHEMAS = {route.path: route.endpoint.__annotations__["body"] for route in routes.json_router.routes}


@pytest.fixture(scope="module")
def demo():
    with serving(BUNDLE) as server:
        yield server


def parsed(shown):
    """A response as the page shows it: … stands for any value, and at an object's end for further members."""
    return json.loads(re.sub(r'(?<!")…', '"…"', re.sub(r"…(?=\s*\})(?<!: …)", '"…": "…"', shown)))


def same(shown, actual):
    """Whether a response is what the page shows: numbers to 1e-5, all else exactly, but for what … stands for."""
    if shown == "…":
        return True
    if isinstance(shown, dict) and isinstance(actual, dict):
        named = shown.keys() - {"…"}
        has_members = named <= actual.keys() if "…" in shown else named == actual.keys()
        return has_members and all(same(shown[name], actual[name]) for name in named)
    if isinstance(shown, list) and isinstance(actual, list):
        return len(shown) == len(actual) and all(map(same, shown, actual))
    if type(shown) is float and type(actual) is float:
        return math.isclose(shown, actual, abs_tol=1e-5)
    return type(shown) is type(actual) and shown == actual


def section(path):
    """The text under an endpoint's heading, up to the next heading of its rank."""
    return PAGE.partition(f"\n## `POST {path}`\n")[2].partition("\n## ")[0]


def rows(text):
    """The names in the first column of a text's tables."""
    return {name for cell in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)}


def options(text):
    """The names in a section's row of options."""
    (row,) = re.findall(r"^\| options \| (.*) \|$", text, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command.split()[2][len(ADDRESS) :] for command, _ in EXAMPLES])
def test_an_example_answers_what_the_page_shows(command, shown, demo):
    output = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, demo.url)], capture_output=True, text=True, check=True, timeout=30
    ).stdout

    assert same(parsed(shown), json.loads(output)), output


def test_every_block_is_an_example_and_every_endpoint_has_one(demo):
    called = {re.search(rf"{ADDRESS}(/[\w/]+)", command).group(1) for command, _ in EXAMPLES}
    paths = httpx.get(demo.url + "/openapi.json").json()["paths"]

    assert len(EXAMPLES) == len(re.findall(r"```bash", PAGE)) == len(re.findall(r"```json", PAGE))
    assert {path for path, methods in paths.items() if "post" in methods} == SCHEMAS.keys()
    assert called == SCHEMAS.keys() | {"/model"}


@pytest.mark.parametrize("path", SCHEMAS)
def test_every_field_of_a_request_has_its_row(path):
    """The endpoint's table has its own fields and names the options that it takes, which the table of options describes."""
    text = section(path)
    shared = rows(PAGE.partition("### Options\n")[2].partition("\n### ")[0])
    fields = rows(text.partition("\n### ")[0]) - {"options"}

    assert fields | options(text) == set(SCHEMAS[path].model_fields)
    assert options(text) <= shared
    assert not fields & shared


@pytest.mark.parametrize("schema", [value for value in vars(schemas).values() if getattr(value, "model_fields", None)])
def test_every_field_of_an_answer_is_on_the_page(schema):
    for name in schema.model_fields:
        assert f"`{name}`" in PAGE or f'"{name}":' in PAGE, name


def test_every_limit_has_its_row_with_its_default():
    table = PAGE.partition("\n## Limits\n")[2].partition("\n## ")[0]
    for name in schemas.Limits.model_fields:
        (cell,) = re.findall(rf"^\| `{name}` \| ([^|]+) \|", table, re.MULTILINE)
        assert cell.replace(",", "").replace("1 MiB", "1048576") == str(Settings.model_fields[name].default), name


def test_every_clause_of_a_filter_has_its_row():
    assert set(OPERATORS) <= rows(PAGE.partition("### Filters\n")[2].partition("\n### ")[0])


@pytest.mark.parametrize("path", SCHEMAS)
def test_the_example_that_the_reference_page_offers_to_send_is_answered(path, demo):
    """The page at `/docs`."""
    document = httpx.get(demo.url + "/openapi.json").json()
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    (example,) = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["examples"]
    response = httpx.post(demo.url + path, json=example)

    assert response.status_code == 200, response.text
    assert next(value for value in response.json().values() if isinstance(value, list)), "no list in the response has an entry"
