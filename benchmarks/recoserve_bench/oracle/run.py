"""A real service with several models, called at random by several callers at once, every response compared with the oracle."""

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

from recoserve_bench.http.server import Running, Server
from recoserve_bench.report import Figure, print_table

# The service with one change: it searches by bounds however few the items. By itself it does so from more items than MovieLens has.
BOUNDED = "from recoserve.scheduling import loader; loader.MIN_BOUNDED_ITEMS = 0; from recoserve.cli import main; main()"
WITHOUT_KERNEL = "from recoserve.search.kernel import library; library.load_best = lambda: None; " + BOUNDED
# Retrieval path -> (the service's setting, the program that runs it).
PATHS = {"exact": ("exact", BOUNDED), "graphs": ("exact", WITHOUT_KERNEL), "plain": ("plain", BOUNDED)}
LIMITS = ("--max-k", str(MAX_K), "--max-list-ids", str(MAX_LIST_IDS), "--drain-seconds", "0")
AT_ONCE = 64  # requests whose responses are held in memory together


@dataclass(frozen=True)
class Outcome:
    """A request, the status of its response, and what is wrong with it; `body` is empty where nothing is."""

    model: str
    endpoint: str
    body: Mapping[str, Any]
    status: int
    findings: list[str]


def run(
    models: Path, worlds: Mapping[str, World], default: str, requests: int, seed: int, path: str, callers: int
) -> Iterator[Outcome]:
    """Serve the folder `models` and send random requests; yields the outcome of each.

    `path` is one of PATHS: by the kernel where the processor has one, by the graphs in its place, or by a full scan. Raises
    SystemFailed where the service doesn't start.
    """
    stream = Requests(worlds, default, seed)
    pending = (stream.draw() for _ in range(requests))
    retrieval, program = PATHS[path]
    options = ("--default-model", default, "--retrieval", retrieval, *LIMITS)
    command = ("-c", program, "serve", "{bundle}", "--port", "{port}", *options)
    known_user = worlds[default].user_ids[0]
    server = Server(name="recoserve", command=command, body=lambda _user, k: {"user_id": known_user, "k": k})
    with (
        Running(server, Path(), models) as service,
        httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client,
        ThreadPoolExecutor(callers) as pool,
    ):
        while batch := list(islice(pending, AT_ONCE)):
            responses = list(pool.map(lambda request: client.post(request[0], json=request[1]), batch))
            for (endpoint, body), response in zip(batch, responses, strict=True):
                yield _outcome(worlds, default, endpoint, body, response)


def _outcome(
    worlds: Mapping[str, World], default: str, endpoint: str, body: Mapping[str, Any], response: httpx.Response
) -> Outcome:
    name = default if body.get("model") is None else body["model"]
    model = name if isinstance(name, str) and name in worlds else "no such model"
    wrong = findings(worlds, default, endpoint, body, response.status_code, response.json())
    return Outcome(model, endpoint, body if wrong else {}, response.status_code, wrong)


def figures_of(outcomes: list[Outcome], path: str) -> list[Figure]:
    """A figure for each endpoint and model: how many requests, answers, problems, and wrong responses."""
    requests = Counter((outcome.endpoint, outcome.model) for outcome in outcomes)
    answers = Counter((outcome.endpoint, outcome.model) for outcome in outcomes if outcome.status == 200)
    wrong = Counter((outcome.endpoint, outcome.model) for outcome in outcomes if outcome.findings)
    return [
        {
            "retrieval": path,
            "endpoint": endpoint,
            "model": model,
            "requests": count,
            "answers": answers[endpoint, model],
            "problems": count - answers[endpoint, model],
            "wrong": wrong[endpoint, model],
        }
        for (endpoint, model), count in sorted(requests.items())
    ]


def print_figures(figures: list[Figure]) -> None:
    """Print a row for each figure, and the sums below them."""
    columns = ("retrieval", "endpoint", "model", "requests", "answers", "problems", "wrong")
    sums = {name: f"{sum(figure[name] for figure in figures):,}" for name in columns[3:]}
    rows = [[str(figure[name]) for name in columns] for figure in figures]
    print_table(columns, [*rows, ["", "", "all", *sums.values()]])
