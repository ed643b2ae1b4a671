"""From a folder to a model that may answer: every check, the golden sample last, on the provider that will serve."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from service.bundle import contract
from service.bundle.archive import open_bundle
from service.bundle.golden import Golden, same_top, score_difference
from service.engine.cpu import cpu_limit
from service.engine.model import Model
from service.engine.session import OnnxSession, Session, resolve_provider
from service.errors import BundleInvalid


def load_model(folder: Path, provider: str = "auto", threads: int = 0) -> Model:
    """Open a bundle, start its graphs, and check them against the golden sample, which warms them up as well.

    `threads` 0 means the container's CPU limit. Raises BundleInvalid and ProviderUnavailable.
    """
    chosen = resolve_provider(provider)
    bundle = open_bundle(folder)
    sessions: dict[str, Session] = {
        role: OnnxSession(bundle.graph(role), chosen, threads or cpu_limit()) for role in bundle.manifest.graphs
    }
    problems = list(contract_problems(sessions))
    if problems:
        raise BundleInvalid(problems)
    model = Model(bundle, sessions)
    problems = list(golden_problems(model, bundle.golden))
    if problems:
        raise BundleInvalid(problems)
    return model


def contract_problems(sessions: dict[str, Session]) -> Iterator[str]:
    """Graphs whose inputs or outputs are not those of `bundle.contract`."""
    for role, inputs in contract.GRAPH_INPUTS.items():
        session, outputs = sessions[role], contract.GRAPH_OUTPUTS[role]
        if session.inputs != inputs or session.outputs != outputs:
            found, needed = _signature(session.inputs, session.outputs), _signature(inputs, outputs)
            yield f"{contract.GRAPHS[role]}: its inputs and outputs are {found}; they must be {needed}"


def _signature(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    return f"({', '.join(sorted(inputs))}) -> ({', '.join(sorted(outputs))})"


def golden_problems(model: Model, golden: Golden) -> Iterator[str]:
    """Where this host's answers are not the source framework's."""
    try:
        rows, scores = model.top(golden.user_row, golden.item_row.shape[1])
        found = model.scores(golden.user_row, golden.sample_item)
    except Exception as error:  # noqa: BLE001  # a foreign graph may fail in any way; what it raises has no common base
        yield f"the graphs can't answer the golden sample: {type(error).__name__}"
        return
    if rows.shape != golden.item_row.shape or rows.dtype != np.int64:
        yield f"the golden sample's top-k has shape {golden.item_row.shape}, this host's {rows.shape}"
        return
    places = zip(golden.item_row, golden.score, rows, scores, strict=True)
    wrong = sum(not same_top(*place) for place in places)
    if wrong:
        yield f"the golden sample's top-k differs for {wrong} of {len(rows)} users: these graphs don't give the framework's answers"
    difference, within = score_difference(golden.sample_score, found)
    if not within:
        yield f"the golden sample's scores differ by up to {difference:.3g}: these graphs don't give the framework's answers"
