"""Runs a graph on small batches: to learn the shape of every value, and to refuse models that items can't be ranked with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Rows
from recoserve.bundle.golden import score_difference
from recoserve.errors import ExportRefused
from recoserve_export.graph import operators
from recoserve_export.graph.network import Arrays, Network
from recoserve_export.graph.program import Program

COUPLING_PAIRS = 32  # enough that a softmax or a mean over the batch shows in the scores
# What a pair's score does, and what makes it do so.
RANDOM = "changes from one run to the next", "a layer that draws random numbers, such as Dropout left in training mode"
COUPLED = (
    "depends on the pairs scored beside it",
    "a softmax or a normalisation over the batch, or BatchNormalization left in training mode",
)
Feeds = Callable[[Rows, Rows], Arrays]  # the values of each input by name, for pairs of a user row and an item row


@dataclass(frozen=True)
class Probe:
    """Every array of the graph by name, computed once for two pairs and once for three.

    `constant_names` are the names of the values that depend on no input. There are two batch sizes, since with one an axis of pairs
    can't be told from an axis that happens to have the same length. Neither size is 1, since a batch of one would broadcast or be
    squeezed.
    """

    with_two_pairs: Mapping[str, NDArray[Any]]
    with_three_pairs: Mapping[str, NDArray[Any]]
    constant_names: frozenset[str]

    def row_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of one row; None unless the first axis is the pairs and no other axis grows with their number."""
        at_two, at_three = self.with_two_pairs[name].shape, self.with_three_pairs[name].shape
        return at_two[1:] if at_two[:1] == (2,) and at_three[:1] == (3,) and at_two[1:] == at_three[1:] else None


def run_probe(network: Network, feeds: Feeds, user_count: int = 3, item_count: int = 3) -> Probe:
    """Run the graph on two and on three pairs, with every value of it as an output; raises ExportRefused if it can't run.

    Users or items are repeated if there are fewer than three.
    """
    names = [name for node in network.nodes for name in node.output if name]
    program = _program(network, names)

    def values(pair_count: int) -> Mapping[str, NDArray[Any]]:
        inputs = feeds(np.arange(pair_count) % user_count, np.arange(pair_count)[::-1] % item_count)
        outputs = zip(names, program.run(inputs), strict=True)
        # A value that is a sequence and no array is left out: then `evaluate` raises NotSeparable.
        return {**network.constants, **inputs, **{name: value for name, value in outputs if isinstance(value, np.ndarray)}}

    return Probe(values(2), values(3), _constant_names(network))


def _constant_names(network: Network) -> frozenset[str]:
    """The names of the values that depend on no input."""
    names = set(network.constants)
    for node in network.nodes:
        if all(name in names for name in node.input if name):
            names.update(node.output)
    return frozenset(names)


def refuse_random(network: Network) -> None:
    """Raise ExportRefused if an operator draws random numbers: every run must give the same score."""
    node = next((node for node in network.nodes if operators.properties(node.op_type).random), None)
    if node is not None:
        raise ExportRefused(
            f"the model draws random numbers when it scores ({node.op_type} makes {node.output[0]!r}): "
            "a ranking must not change from one request to the next. Turn that layer off for inference"
        )


def refuse_coupled(network: Network, feeds: Feeds, user_count: int, item_count: int) -> None:
    """Raise ExportRefused if a pair's score depends on the other pairs of its batch, changes between runs or isn't a finite number.

    A batch of pairs is scored together and one by one. The shapes of a probe can't show a coupling: a softmax over the batch keeps
    them.
    """
    rng = np.random.default_rng(0)
    user_rows, item_rows = rng.integers(user_count, size=COUPLING_PAIRS), rng.integers(item_count, size=COUPLING_PAIRS)
    program = _program(network, [network.output])
    (together,) = program.run(feeds(user_rows, item_rows))
    if together.size != COUPLING_PAIRS:
        raise ExportRefused(
            f"the model's output has shape {list(together.shape)} for {COUPLING_PAIRS} pairs; it must be one score for each pair"
        )
    _check_finite(together.reshape(-1), user_rows, item_rows)
    # The same batch is run again first: random numbers would look like a coupling too, but need a message of their own.
    (repeated,) = program.run(feeds(user_rows, item_rows))
    rows = [slice(row, row + 1) for row in range(COUPLING_PAIRS)]
    separate = np.concatenate([program.run(feeds(user_rows[row], item_rows[row]))[0].reshape(-1) for row in rows])
    for scores, symptom, cause in ((repeated, *RANDOM), (separate, *COUPLED)):
        difference, close = score_difference(together.reshape(-1).astype(np.float64), scores.reshape(-1))
        if not close:
            raise ExportRefused(
                f"a pair's score {symptom} (by up to {difference:.3g}), so items can't be ranked by it: look for {cause}"
            )


def refuse_mixed(network: Network, probe: Probe) -> None:
    """Raise ExportRefused if a value that depends on ids has one shape for any number of pairs: it mixes all pairs of the batch.

    `refuse_coupled` notices that only if the score of a sampled pair changes; it may take one rare item to change all others.
    """
    dependent = set(network.inputs)  # names of values that depend on ids; a shape depends on the number of ids only
    for node in network.nodes:
        if not dependent.intersection(node.input[: operators.properties(node.op_type).content_inputs]):
            continue
        dependent.update(node.output)
        for name in node.output:
            at_two, at_three = probe.with_two_pairs.get(name), probe.with_three_pairs.get(name)
            if isinstance(at_two, np.ndarray) and isinstance(at_three, np.ndarray) and at_two.shape == at_three.shape:
                raise ExportRefused(
                    f"the model mixes all pairs of a batch ({node.op_type} gives shape {list(at_two.shape)} both for 2 pairs and "
                    "for 3), so a pair's score may depend on the pairs beside it, and items can't be ranked by it"
                )


def _check_finite(scores: NDArray[Any], user_rows: Rows, item_rows: Rows) -> None:
    bad_pairs = np.flatnonzero(~np.isfinite(scores))
    if len(bad_pairs):
        pair = bad_pairs[0]
        raise ExportRefused(
            f"the model's score of user row {user_rows[pair]} and item row {item_rows[pair]} is {scores[pair]}, and can't be "
            "ranked. Is there a logarithm, a root or a division that is undefined for some pairs, or did training diverge?"
        )


def _program(network: Network, outputs: list[str]) -> Program:
    dtypes = {name: graph_input.dtype for name, graph_input in network.inputs.items()}
    return Program(network.nodes, network.constants, dtypes, outputs, network.opset)
