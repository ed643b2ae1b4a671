"""What a graph does at a few sizes of its batch, and the models that no serving system could rank: refused with the reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.golden import score_difference
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, Network
from recoserve_export.graph.program import Program

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
SIZES = ("Shape", "Size")  # of these, a number of pairs is no pair's content
ROWS = 32
Feeds = Callable[[NDArray[np.int64], NDArray[np.int64]], Arrays]


@dataclass(frozen=True)
class Probe:
    """Every array of the graph, by name, at two and at three pairs; `fixed` names those that no input reaches."""

    two: Mapping[str, NDArray[Any]]
    three: Mapping[str, NDArray[Any]]
    fixed: frozenset[str]

    def row_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of one row, where the value has a row for each pair and nothing else moves with their number."""
        two, three = self.two[name].shape, self.three[name].shape
        return two[1:] if two[:1] == (2,) and three[:1] == (3,) and two[1:] == three[1:] else None


def run_probe(network: Network, feeds: Feeds, users: int = 3, items: int = 3) -> Probe:
    """Run the graph twice, with every value of it brought out; raises ExportRefused where it can't run.

    A catalogue of fewer than 3 `users` or `items` repeats its rows.
    """
    names = [name for node in network.nodes for name in node.output if name]
    program = _program(network, names)

    def values(count: int) -> Mapping[str, NDArray[Any]]:
        given = feeds(np.arange(count) % users, np.arange(count)[::-1] % items)
        found = zip(names, program.run(given), strict=True)
        return {**network.constants, **given, **{name: value for name, value in found if isinstance(value, np.ndarray)}}

    return Probe(values(2), values(3), _fixed(network))


def _fixed(network: Network) -> frozenset[str]:
    fixed = set(network.constants)
    for node in network.nodes:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return frozenset(fixed)


def refuse_random(network: Network) -> None:
    """Raise ExportRefused for operators that draw numbers: a score must be the same twice."""
    drawing = [node for node in network.nodes if node.op_type in RANDOM]
    if drawing:
        raise ExportRefused(
            f"the model draws random numbers when it scores ({drawing[0].op_type} makes {drawing[0].output[0]!r}): "
            "a ranking must not change from one request to the next. Turn that layer off for inference"
        )


def refuse_coupled(network: Network, feeds: Feeds, users: int, items: int) -> None:
    """Raise ExportRefused where a pair's score depends on the pairs beside it, or is not one number."""
    rng = np.random.default_rng(0)
    user_rows, item_rows = rng.integers(users, size=ROWS), rng.integers(items, size=ROWS)
    program = _program(network, [network.output])
    (together,) = program.run(feeds(user_rows, item_rows))
    if together.size != ROWS:
        raise ExportRefused(f"the model gives {list(together.shape)} for {ROWS} pairs; it must give one score for each")
    _check_finite(together.reshape(-1), user_rows, item_rows)
    again = program.run(feeds(user_rows, item_rows))[0]
    places = [slice(place, place + 1) for place in range(ROWS)]
    alone = np.concatenate([program.run(feeds(user_rows[place], item_rows[place]))[0].reshape(-1) for place in places])
    for what, found in (("changes from one run to the next", again), ("depends on the pairs scored beside it", alone)):
        difference, close = score_difference(together.reshape(-1).astype(np.float64), found.reshape(-1))
        if not close:
            raise ExportRefused(
                f"a pair's score {what} (by up to {difference:.3g}), so no catalogue can be ranked with it: look for a softmax or "
                "a normalisation over the batch, or BatchNormalization left in training mode"
            )


def refuse_mixed(network: Network, probe: Probe) -> None:
    """Raise ExportRefused where something is computed of all pairs together, which a sample of them may not show."""
    reached = set(network.inputs)
    for node in network.nodes:
        content = node.input[:1] if node.op_type == "CastLike" else node.input  # the other one gives a type
        if node.op_type in SIZES or not reached.intersection(content):
            continue
        reached.update(node.output)
        for name in node.output:
            two, three = probe.two.get(name), probe.three.get(name)
            if isinstance(two, np.ndarray) and isinstance(three, np.ndarray) and two.shape == three.shape:
                raise ExportRefused(
                    f"the model computes something of all pairs together ({node.op_type} makes {list(two.shape)} of 2 and of 3), "
                    "so that a pair's score may depend on the pairs beside it: no catalogue can be ranked with it"
                )


def _check_finite(scores: NDArray[Any], user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ExportRefused(
            f"the model's score of user row {user_rows[bad[0]]} and item row {item_rows[bad[0]]} is {scores[bad[0]]}: no ranking "
            "can come of it. Is there a logarithm, a root or a division that some pairs make impossible, or did training diverge?"
        )


def _program(network: Network, outputs: list[str]) -> Program:
    dtypes = {name: each.dtype for name, each in network.inputs.items()}
    return Program(network.nodes, network.constants, dtypes, outputs, network.opset)
