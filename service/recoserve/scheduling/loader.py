"""From a folder to a model that may answer: every check, the golden sample last, on the provider that will serve."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle, int8_copy, open_bundle, tables
from recoserve.bundle.golden import Golden, same_top, score_difference
from recoserve.errors import BundleInvalid
from recoserve.search.bounded_search import WORTH_SCREENING
from recoserve.search.cpu import cpu_limit
from recoserve.search.kernel import library as kernel
from recoserve.search.kernel.index import Index
from recoserve.search.model import Model
from recoserve.search.query import Query
from recoserve.search.session import OnnxSession, Session, resolve_provider
from recoserve.search.vectors import Vectors


def load_model(folder: Path, provider: str = "auto", threads: int = 0, retrieval: str = "exact") -> Model:
    """Open a bundle, start its graphs, and check them against the golden sample, which warms them up as well.

    `threads` 0 means the container's CPU limit, and one thread for tables so small that more don't pay. `retrieval` is `exact`,
    through the int8 copy where the bundle has one and the provider is the CPU, or `plain`, a full scan. Raises BundleInvalid and
    ProviderUnavailable.
    """
    chosen = resolve_provider(provider)
    bundle = open_bundle(folder)
    small = bundle.manifest.items < WORTH_SCREENING and bundle.manifest.dim is not None
    threads = threads or (1 if small else cpu_limit())  # to wake a second thread for a short product costs more than it saves
    packed = {contract.SCREEN, *({contract.RECOMMEND, contract.RECOMMEND_QUERY} if small else ())}

    def start(role: str) -> Session:
        return OnnxSession(bundle.graph(role), chosen, threads, role in packed)

    sessions = {role: start(role) for role in (*contract.GRAPHS, *_query_graphs(bundle))}
    vectors, index = _vectors(bundle), None
    if retrieval == "exact" and chosen == "cpu":
        index = _index(bundle, sessions, vectors, threads)
        sessions |= {role: start(role) for role in _exact_graphs(bundle, index)}
    problems = list(contract_problems(sessions))
    if problems:
        raise BundleInvalid(problems)
    model = Model(bundle, sessions, vectors, index)
    problems = list(golden_problems(model, bundle.golden))
    if problems:
        raise BundleInvalid(problems)
    return model


def _query_graphs(bundle: Bundle) -> Iterable[str]:
    """Those of every bundle with vectors, but of ones from before there were such graphs."""
    return contract.QUERY_GRAPHS if contract.QUERY_GRAPHS.keys() <= bundle.manifest.graphs.keys() else ()


def _vectors(bundle: Bundle) -> Vectors | None:
    found = tables(bundle)
    return Vectors(*found, unit=bundle.manifest.similarity == "cosine") if found else None


def _index(bundle: Bundle, sessions: Mapping[str, Session], vectors: Vectors | None, threads: int) -> Index | None:
    """The items laid out for the kernel, where there is one and the bundle tells all that it needs."""
    graphs, library = bundle.manifest.graphs, kernel.best()
    # Bundles from before there were graphs for queries don't tell whether their scores have tails.
    tail_told = contract.FINISH in graphs or contract.PRODUCT not in sessions[contract.SCORE].outputs
    if not (library and vectors and contract.SCREEN in graphs and _query_graphs(bundle) and tail_told):
        return None
    rows = vectors.items.rows
    copy = int8_copy(bundle.graph(contract.SCREEN), *rows.shape)
    return Index(library, rows, copy, threads) if copy and rows.shape[1] <= kernel.MOST_DIM else None


def _exact_graphs(bundle: Bundle, index: Index | None) -> Iterable[str]:
    """What exact retrieval needs beside the index, or in its place."""
    if index:
        return contract.FINISH_GRAPHS.keys() & bundle.manifest.graphs.keys()
    worth = bundle.manifest.items >= WORTH_SCREENING
    return contract.SCREEN_GRAPHS if worth and contract.SCREEN_GRAPHS.keys() <= bundle.manifest.graphs.keys() else ()


def contract_problems(sessions: dict[str, Session]) -> Iterator[str]:
    """Graphs whose inputs or outputs are not those of `bundle.contract`."""
    for role, session in sessions.items():
        inputs, outputs = contract.GRAPH_INPUTS[role], contract.GRAPH_OUTPUTS[role]
        if session.inputs != inputs or session.outputs - contract.GRAPH_EXTRAS.get(role, set()) != outputs:
            found, needed = _signature(session.inputs, session.outputs), _signature(inputs, outputs)
            yield f"{role}: its inputs and outputs are {found}; they must be {needed}"


def _signature(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    return f"({', '.join(sorted(inputs))}) -> ({', '.join(sorted(outputs))})"


def golden_problems(model: Model, golden: Golden) -> Iterator[str]:
    """Where this host's answers are not the source framework's."""
    try:
        k = golden.item_row.shape[1]
        tops = model.rank([Query(int(row), k) for row in golden.user_row])
        found = model.scores(golden.user_row, golden.sample_item)
    except Exception as error:  # noqa: BLE001  # a foreign graph may fail in any way; what it raises has no common base
        yield f"the graphs can't answer the golden sample: {type(error).__name__}"
        return
    places = zip(golden.item_row, golden.score, tops, strict=True)
    wrong = sum(not same_top(rows, scores, top.item_rows, top.scores) for rows, scores, top in places)
    if wrong:
        yield f"the golden sample's top-k differs for {wrong} of {len(tops)} users: these graphs don't give the framework's answers"
    difference, within = score_difference(golden.sample_score, found)
    if not within:
        yield f"the golden sample's scores differ by up to {difference:.3g}: these graphs don't give the framework's answers"
