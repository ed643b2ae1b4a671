"""What a bundle's graphs must be before they may answer: problems as sentences, one for each."""

from collections.abc import Iterable, Iterator, Mapping

from recoserve.bundle import contract
from recoserve.bundle.golden import Golden, same_top, score_difference
from recoserve.search.model import Model
from recoserve.search.query import Query
from recoserve.search.session import Session


def signature_problems(sessions: Mapping[str, Session]) -> Iterator[str]:
    """Graphs whose inputs or outputs are not those of `bundle.contract`."""
    for role, session in sessions.items():
        inputs, outputs = contract.GRAPH_INPUTS[role], contract.GRAPH_OUTPUTS[role]
        if session.inputs != inputs or session.outputs - contract.GRAPH_EXTRAS.get(role, set()) != outputs:
            actual, required = _signature(session.inputs, session.outputs), _signature(inputs, outputs)
            yield f"{role}: its inputs and outputs are {actual}; they must be {required}"


def _signature(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    return f"({', '.join(sorted(inputs))}) -> ({', '.join(sorted(outputs))})"


def golden_problems(model: Model, golden: Golden) -> Iterator[str]:
    """Where the answers of this host, with this provider, are not the source framework's (`bundle.golden` has the tolerances)."""
    try:
        k = golden.item_row.shape[1]
        rankings = model.rank([Query(row, k) for row in golden.user_row.tolist()])
        scores = model.scores(golden.user_row, golden.sample_item)
    except Exception as error:  # noqa: BLE001  # a foreign graph may fail in any way; what it raises has no common base
        yield f"the graphs can't answer the golden sample: {type(error).__name__}"
        return
    tops = zip(golden.item_row, golden.score, rankings, strict=True)
    differing = sum(not same_top(rows, top_scores, ranking.item_rows, ranking.scores) for rows, top_scores, ranking in tops)
    if differing:
        yield (
            f"the golden sample's top-k differs for {differing} of {len(rankings)} users: "
            "these graphs don't give the framework's answers"
        )
    difference, within_tolerance = score_difference(golden.sample_score, scores)
    if not within_tolerance:
        yield f"the golden sample's scores differ by up to {difference:.3g}: these graphs don't give the framework's answers"
