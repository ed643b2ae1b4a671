"""From a folder to a model that may answer: every check, the golden sample last, on the provider that will serve."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle, open_bundle
from recoserve.bundle.tensors import embedding_tables, read_int8_index
from recoserve.errors import BundleInvalid
from recoserve.scheduling.model_checks import golden_problems, signature_problems
from recoserve.search.bounded_search import MIN_BOUNDED_ITEMS
from recoserve.search.cpu import cpu_limit
from recoserve.search.kernel import library as kernel
from recoserve.search.kernel.index import Index
from recoserve.search.model import Model
from recoserve.search.session import OnnxSession, Session, resolve_provider
from recoserve.search.vectors import VectorTables


def load_model(folder: Path, provider: str = "auto", threads: int = 0, retrieval: str = "exact") -> Model:
    """A bundle's model: its graphs started, checked against the golden sample, and warmed up by that check.

    `threads` 0 means the container's CPU limit, and one thread for tables so small that more don't pay. `retrieval` is `exact`,
    through the int8 index where the bundle has one and the provider is the CPU, or `plain`, a full scan. Raises BundleInvalid and
    ProviderUnavailable.
    """
    provider = resolve_provider(provider)
    bundle = open_bundle(folder)
    small = bundle.manifest.items < MIN_BOUNDED_ITEMS and bundle.manifest.dim is not None
    threads = threads or (1 if small else cpu_limit())  # to wake a second thread for a short product costs more than it saves
    prepacked = {contract.SCREEN, *({contract.RECOMMEND, contract.RECOMMEND_QUERY} if small else ())}

    def start(role: str) -> Session:
        return OnnxSession(bundle.graph(role), provider, threads, role in prepacked)

    sessions = {role: start(role) for role in (*contract.GRAPHS, *_query_graphs(bundle))}
    vectors, index = _vectors(bundle), None
    if retrieval == "exact" and provider == "cpu":
        index = _index(bundle, sessions, vectors, threads)
        sessions |= {role: start(role) for role in _exact_search_graphs(bundle, index)}
    if problems := list(signature_problems(sessions)):
        raise BundleInvalid(problems)
    model = Model(bundle, sessions, vectors, index)
    if problems := list(golden_problems(model, bundle.golden)):
        raise BundleInvalid(problems)
    return model


def _query_graphs(bundle: Bundle) -> Iterable[str]:
    """The graphs that rank and score for a vector; bundles from before there were any have none."""
    return contract.QUERY_GRAPHS if contract.QUERY_GRAPHS.keys() <= bundle.manifest.graphs.keys() else ()


def _vectors(bundle: Bundle) -> VectorTables | None:
    tables = embedding_tables(bundle)
    return VectorTables(*tables, unit=bundle.manifest.similarity == "cosine") if tables else None


def _index(bundle: Bundle, sessions: Mapping[str, Session], vectors: VectorTables | None, threads: int) -> Index | None:
    """The items laid out for the kernel, where this processor can run it and the bundle says all that it needs."""
    graphs, library = bundle.manifest.graphs, kernel.load_best()
    # A kernel returns dot products, and the tail of a score comes behind them. Bundles from before there was a graph of the tail
    # alone don't say whether their scores have one, unless the score graph also returns the product in front of it.
    tail_is_known = contract.FINISH in graphs or contract.PRODUCT not in sessions[contract.SCORE].outputs
    if not (library and vectors and contract.SCREEN in graphs and _query_graphs(bundle) and tail_is_known):
        return None
    items, dim = vectors.items.vectors.shape
    int8_index = read_int8_index(bundle.graph(contract.SCREEN), items, dim)
    return Index(library, vectors.items.vectors, int8_index, threads) if int8_index and dim <= library.max_dim else None


def _exact_search_graphs(bundle: Bundle, index: Index | None) -> Iterable[str]:
    """The graphs that exact search needs beside the index, or where there is none."""
    if index:
        return contract.FINISH_GRAPHS.keys() & bundle.manifest.graphs.keys()
    pays = bundle.manifest.items >= MIN_BOUNDED_ITEMS
    return contract.SCREEN_GRAPHS if pays and contract.SCREEN_GRAPHS.keys() <= bundle.manifest.graphs.keys() else ()
