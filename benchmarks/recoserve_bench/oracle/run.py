"""A real service with several models, asked at random by several callers at once, every answer held against the oracle."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from tests.oracle.compare import findings
from tests.oracle.requests import Requests
from tests.oracle.world import MAX_K, MAX_LIST_IDS, World

from recoserve_bench.figures import Figure, print_table
from recoserve_bench.http.server import Running, Server

# The screen pays from more items than MovieLens has; here it must take part in any case.
SCREENED = "from recoserve.search import loading; loading.WORTH_SCREENING = 0; from recoserve.cli import main; main()"
UNBUILT = "from recoserve.search.kernel import library; library.best = lambda: None; " + SCREENED
WAYS = {"exact": ("exact", SCREENED), "graphs": ("exact", UNBUILT), "plain": ("plain", SCREENED)}  # the setting, and what is run
LIMITS = ("--max-k", str(MAX_K), "--max-list-ids", str(MAX_LIST_IDS), "--drain-seconds", "0")
AT_ONCE = 64  # requests that wait for their turn, so that few answers are held in memory


@dataclass(frozen=True)
class Outcome:
    """One request, its status, and what is wrong with the answer; the request itself is kept where something is."""

    model: str
    endpoint: str
    body: Mapping[str, Any]
    status: int
    wrong: list[str]


def run(
    models: Path, worlds: Mapping[str, World], default: str, requests: int, seed: int, way: str, callers: int
) -> Iterator[Outcome]:
    """Serve the models folder and ask; raises SystemFailed where the service doesn't start. `way` is one of WAYS: by the kernel
    where the processor has one, by the graphs in its place, or by a plain scan.
    """
    stream = Requests(worlds, default, seed)
    left = (stream.one() for _ in range(requests))
    retrieval, program = WAYS[way]
    options = ("--default-model", default, "--retrieval", retrieval, *LIMITS)
    command = ("-c", program, "serve", "{bundle}", "--port", "{port}", *options)
    known = worlds[default].user_ids[0]
    server = Server(name="recoserve", command=command, body=lambda _user, k: {"user_id": known, "k": k})
    with (
        Running(server, Path(), models) as service,
        httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client,
        ThreadPoolExecutor(callers) as pool,
    ):
        while batch := list(islice(left, AT_ONCE)):
            answers = list(pool.map(lambda one: client.post(one[0], json=one[1]), batch))
            yield from (_outcome(worlds, default, *one, answer) for one, answer in zip(batch, answers, strict=True))


def _outcome(
    worlds: Mapping[str, World], default: str, endpoint: str, body: Mapping[str, Any], response: httpx.Response
) -> Outcome:
    named = default if body.get("model") is None else body["model"]
    model = named if isinstance(named, str) and named in worlds else "no such model"
    wrong = findings(worlds, default, endpoint, body, response.status_code, response.json())
    return Outcome(model, endpoint, body if wrong else {}, response.status_code, wrong)


def figures(outcomes: list[Outcome], way: str) -> list[Figure]:
    """One for each endpoint and model: how many requests, answers, problems, and wrong ones."""
    asked = Counter((one.endpoint, one.model) for one in outcomes)
    answers = Counter((one.endpoint, one.model) for one in outcomes if one.status == 200)
    wrong = Counter((one.endpoint, one.model) for one in outcomes if one.wrong)
    return [
        {
            "retrieval": way,
            "endpoint": endpoint,
            "model": model,
            "requests": count,
            "answers": answers[endpoint, model],
            "problems": count - answers[endpoint, model],
            "wrong": wrong[endpoint, model],
        }
        for (endpoint, model), count in sorted(asked.items())
    ]


def print_figures(found: list[Figure]) -> None:
    """As a table, with the sum below."""
    columns = ("retrieval", "endpoint", "model", "requests", "answers", "problems", "wrong")
    sums = {name: f"{sum(one[name] for one in found):,}" for name in columns[3:]}
    rows = [[str(one[name]) for name in columns] for one in found]
    print_table(columns, [*rows, ["", "", "all", *sums.values()]])
