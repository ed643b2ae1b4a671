"""Runs of a graph on small batches: the shape of every value; and refusals of models that no catalogue can be ranked with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.golden import score_difference
from recoserve.errors import ExportRefused
from recoserve_export.graph import operators
from recoserve_export.graph.network import Arrays, Network
from recoserve_export.graph.program import Program

COUPLING_PAIRS = 32  # enough that a softmax or a mean over the batch shows in the scores
Feeds = Callable[[NDArray[np.int64], NDArray[np.int64]], Arrays]


@dataclass(frozen=True)
class Probe:
    """Every array of the graph by name, at `two` and at `three` pairs; `fixed` names the values that depend on no input.

    Two batch sizes, because one can't tell an axis of pairs from an axis that happens to have as many positions. Neither size is 1:
    a batch of one broadcasts, and is squeezed, where no other is.
    """

    two: Mapping[str, NDArray[Any]]
    three: Mapping[str, NDArray[Any]]
    fixed: frozenset[str]

    def row_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of one row; None unless the first axis is the pairs and no other axis grows with their number."""
        two, three = self.two[name].shape, self.three[name].shape
        return two[1:] if two[:1] == (2,) and three[:1] == (3,) and two[1:] == three[1:] else None


def run_probe(network: Network, feeds: Feeds, users: int = 3, items: int = 3) -> Probe:
    """Run the graph on two and on three pairs, with every value of it as an output; raises ExportRefused if it can't run.

    `users` and `items` are the numbers of rows there are; if they are fewer than three, pairs repeat them.
    """
    names = [name for node in network.nodes for name in node.output if name]
    program = _program(network, names)

    def values(count: int) -> Mapping[str, NDArray[Any]]:
        inputs = feeds(np.arange(count) % users, np.arange(count)[::-1] % items)
        outputs = zip(names, program.run(inputs), strict=True)
        # Values that are sequences, and no arrays, are left out: `evaluate` finds no shape of theirs and falls back.
        return {**network.constants, **inputs, **{name: value for name, value in outputs if isinstance(value, np.ndarray)}}

    return Probe(values(2), values(3), _fixed(network))


def _fixed(network: Network) -> frozenset[str]:
    fixed = set(network.constants)
    for node in network.nodes:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return frozenset(fixed)


def refuse_random(network: Network) -> None:
    """Raise ExportRefused for operators that draw numbers: a score must be the same twice."""
    random = [node for node in network.nodes if operators.properties(node.op_type).random]
    if random:
        raise ExportRefused(
            f"the model draws random numbers when it scores ({random[0].op_type} makes {random[0].output[0]!r}): "
            "a ranking must not change from one request to the next. Turn that layer off for inference"
        )


def refuse_coupled(network: Network, feeds: Feeds, users: int, items: int) -> None:
    """Raise ExportRefused if a pair's score depends on the other pairs of its batch, or is not one number.

    A batch of pairs is scored together and one by one. The shapes of a probe can't show this: a softmax over the batch keeps them.
    """
    rng = np.random.default_rng(0)
    user_rows, item_rows = rng.integers(users, size=COUPLING_PAIRS), rng.integers(items, size=COUPLING_PAIRS)
    program = _program(network, [network.output])
    (together,) = program.run(feeds(user_rows, item_rows))
    if together.size != COUPLING_PAIRS:
        raise ExportRefused(f"the model gives {list(together.shape)} for {COUPLING_PAIRS} pairs; it must give one score for each")
    _check_finite(together.reshape(-1), user_rows, item_rows)
    # Run again first: random numbers would show as coupling too, and deserve the right message.
    (repeated,) = program.run(feeds(user_rows, item_rows))
    rows = [slice(row, row + 1) for row in range(COUPLING_PAIRS)]
    separate = np.concatenate([program.run(feeds(user_rows[row], item_rows[row]))[0].reshape(-1) for row in rows])
    for symptom, scores in (("changes from one run to the next", repeated), ("depends on the pairs scored beside it", separate)):
        difference, close = score_difference(together.reshape(-1).astype(np.float64), scores.reshape(-1))
        if not close:
            raise ExportRefused(
                f"a pair's score {symptom} (by up to {difference:.3g}), so no catalogue can be ranked with it: look for a softmax "
                "or a normalisation over the batch, or BatchNormalization left in training mode"
            )


def refuse_mixed(network: Network, probe: Probe) -> None:
    """Raise ExportRefused if a value that depends on ids has one shape for any number of pairs: it is made of all of them together.

    `refuse_coupled` finds that only if it changes the score of a sampled pair, and one item may change it for all others.
    """
    dependent = set(network.inputs)  # names of values that depend on ids; a shape depends on their number only
    for node in network.nodes:
        if not dependent.intersection(node.input[: operators.properties(node.op_type).content_inputs]):
            continue
        dependent.update(node.output)
        for name in node.output:
            two, three = probe.two.get(name), probe.three.get(name)
            if isinstance(two, np.ndarray) and isinstance(three, np.ndarray) and two.shape == three.shape:
                raise ExportRefused(
                    f"the model computes something of all pairs together ({node.op_type} makes {list(two.shape)} of 2 and of 3), "
                    "so that a pair's score may depend on the pairs beside it: no catalogue can be ranked with it"
                )


def _check_finite(scores: NDArray[Any], user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> None:
    bad_pairs = np.flatnonzero(~np.isfinite(scores))
    if len(bad_pairs):
        pair = bad_pairs[0]
        raise ExportRefused(
            f"the model's score of user row {user_rows[pair]} and item row {item_rows[pair]} is {scores[pair]}: no ranking "
            "can come of it. Is there a logarithm, a root or a division that some pairs make impossible, or did training diverge?"
        )


def _program(network: Network, outputs: list[str]) -> Program:
    dtypes = {name: graph_input.dtype for name, graph_input in network.inputs.items()}
    return Program(network.nodes, network.constants, dtypes, outputs, network.opset)
