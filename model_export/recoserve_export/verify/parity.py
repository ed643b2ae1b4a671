"""The gate: the written graphs, run in a fresh process, against the framework's own tables or scores.

`python -m recoserve_export.verify.parity FOLDER` compares a folder's graphs with its golden sample and prints the result as JSON.
With a request file and an answer file behind it, it also answers the request's users and items for the exporter to judge.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle import contract
from recoserve.bundle.arrays import Rows
from recoserve.bundle.golden import ABSOLUTE, OF_LARGEST, RELATIVE, Golden, same_top, score_difference
from recoserve.errors import ExportRefused
from recoserve_export.sampling import MANY_PAIRS, sample_rows
from recoserve_export.verify.reference import Reference

ITEMS, TOP = 8192, 100
BOUND_USERS = 8
BATCH_SCORES = 1 << 22  # 16 MiB of float32 scores per run of a graph
ALONE = "import sys; sys.path.append(sys.argv.pop(1)); from recoserve_export.verify.parity import main; main()"


@dataclass(frozen=True)
class Answers:
    """What the graphs said: `rows` int64 and `scores` float32 [S, K], best first; `paired` float32 [S, M].

    `bounds` float32 [few, blocks] are the screen's, of the first users.
    """

    rows: Rows
    scores: NDArray[np.float32]
    paired: NDArray[np.float32]
    bounds: NDArray[np.float32]


def check(folder: Path, reference: Reference, vectors: Reference | None = None) -> dict[str, Any]:
    """Compare the graphs in `folder` with the reference, and their bounds with the products of `vectors`, where they have bounds.

    Returns the manifest's figures; raises ExportRefused where the graphs differ.
    """
    user_rows, item_rows = sampled(reference.users, reference.items, reference.sample)
    answers, golden = _ask(folder, user_rows, item_rows, min(reference.items, TOP))
    found = _judge(reference, user_rows, item_rows, answers)
    beaten = _beaten(vectors, user_rows, answers.bounds) if vectors else 0
    if beaten:
        raise ExportRefused(f"parity failed, so no bundle was written: {beaten} blocks hold an item that beats their bound")
    figures = {"pairs": len(user_rows) * len(item_rows), "users": len(user_rows), "k": answers.rows.shape[1], **found}
    if not (figures.pop("passed") and golden["passed"] and not golden["unguarded"] and not golden["astray"]):
        raise ExportRefused(f"parity failed, so no bundle was written: {_failure(figures, golden)}")
    return {**figures, "tolerance": tolerance()}


def _failure(figures: dict[str, Any], golden: dict[str, Any]) -> str:
    """What differs, in words."""
    said = [
        f"the graphs' scores differ from the model's by up to {figures['largest_difference']:.3g} over {figures['pairs']} pairs, "
        f"and the top-{figures['k']} agrees for {figures['top_k_agreement']:.0%} of {figures['users']} users",
        f"the golden sample is off by up to {golden['largest_difference']:.3g}",
        *(f"a row outside the table is answered: {name}" for name in golden["unguarded"]),
        *(f"a user's vector or a product is answered otherwise than the user: {name}" for name in golden["astray"]),
        "does the model score a pair alike at every call, whatever stands beside it?",
    ]
    return "; ".join(said)


def sampled(users: int, items: int, most_users: int) -> tuple[Rows, Rows]:
    """The users and the items whose scores are compared: all of them where their pairs are few."""
    every = users * items <= MANY_PAIRS
    return sample_rows(users, users if every else most_users, seed=3), sample_rows(items, items if every else ITEMS, seed=4)


def _judge(reference: Reference, user_rows: Rows, item_rows: Rows, answers: Answers) -> dict[str, Any]:
    """Largest difference of any score, and the share of users whose top-k agrees, ties allowed for."""
    difference, within, agreeing = 0.0, True, 0
    finish = reference.formula.finish
    for part in _batches(len(user_rows), max(len(item_rows), answers.rows.shape[1] * reference.width)):
        users, rows = user_rows[part], answers.rows[part]
        best_rows, best = reference.top(users, rows.shape[1])
        # Ranks are compared before the tail, for where a sigmoid saturates every item would tie with every other; and as
        # shares of what each user's vector can reach, for a tolerance means nothing to scores of 1e-6 or of 1e6.
        own, reach = reference.paired(users, rows), reference.reach(users)
        agreeing += sum(same_top(*each) for each in zip(best_rows, best / reach, rows, own / reach, strict=True))
        scale = 1.0 if reference.formula.tail else reach
        for expected, found in (
            (finish(own), answers.scores[part]),
            (finish(reference.products(users, item_rows)), answers.paired[part]),
        ):
            difference = max(difference, score_difference(expected, found)[0])
            within = within and score_difference(expected / scale, found / scale)[1]
    agreement = agreeing / len(user_rows)
    return {"largest_difference": difference, "top_k_agreement": agreement, "passed": within and agreement == 1.0}


def _beaten(reference: Reference, user_rows: Rows, bounds: NDArray[np.float32]) -> int:
    """How many blocks hold an item whose float64 product is above the screen's bound: there must be none."""
    users, beaten = user_rows[: len(bounds)], 0
    step = max(1, BATCH_SCORES // len(users) // contract.BLOCK) * contract.BLOCK
    for at in range(0, reference.items, step):
        rows = np.arange(at, min(at + step, reference.items))
        products = reference.products(users, rows)
        largest = np.maximum.reduceat(products, np.arange(0, len(rows), contract.BLOCK), axis=1)
        beaten += int((largest > bounds[:, at // contract.BLOCK :][:, : largest.shape[1]]).sum())
    return beaten


def _batches(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BATCH_SCORES // width)
    return (slice(at, min(at + step, rows)) for at in range(0, rows, step))


def _ask(folder: Path, user_rows: Rows, item_rows: Rows, k: int) -> tuple[Answers, dict[str, Any]]:
    """Run the graphs on these rows in a process of its own, which has never seen the model."""
    with tempfile.TemporaryDirectory() as room:
        request, answers = Path(room, "request.npz"), Path(room, "answers.npz")
        np.savez(request, users=user_rows, items=item_rows, k=np.array([k]))
        home = str(Path(__file__).resolve().parent.parent)
        command = [sys.executable, "-P", "-c", ALONE, home, str(folder), str(request), str(answers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own interpreter and arguments
        if not answers.exists():
            raise ExportRefused(f"parity failed: the graphs can't be run: {_reason(done.stderr)}")
        with np.load(answers) as arrays:
            return Answers(**arrays), json.loads(done.stdout)


def _reason(told: str) -> str:
    """What a process said last, in place of its traceback."""
    lines = [line for line in told.splitlines() if line.strip()] or ["it ended without a word; was its memory enough?"]
    return lines[-1].strip()[:500]


class Graphs:
    """The graphs of a folder, as any program with onnxruntime would open them."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # a refused row is an exception here, and no news for the log
        options.add_session_config_entry("session.disable_prepacking", "1")  # else large tables are copied, not mapped
        state = onnxruntime.capi.onnxruntime_pybind11_state
        self._errors: tuple[type[Exception], ...] = (state.Fail, state.RuntimeException, state.InvalidArgument)
        self._sessions = {
            role: onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for names in (contract.GRAPHS, contract.QUERY_GRAPHS, contract.SCREEN_GRAPHS, contract.FINISH_GRAPHS)
            for role, name in names.items()
            if (folder / name).exists()
        }

    def recommend(self, users: Rows, k: int) -> tuple[Rows, NDArray[np.float32]]:
        feed = {contract.USER_ID: users, contract.K: np.array([k])}
        rows, scores = self._sessions[contract.RECOMMEND].run([contract.ITEM_ID, contract.SCORE_OUT], feed)
        return rows, scores

    def score(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        feed = {contract.USER_ID: users, contract.ITEM_ID: items}
        scores: NDArray[np.float32] = self._sessions[contract.SCORE].run([contract.SCORE_OUT], feed)[0]
        return scores

    def answers(self, users: Rows, items: Rows, k: int, catalogue: int) -> Answers:
        """Everything asked for, in batches of bounded size."""
        parts = [users[part] for part in _batches(len(users), max(catalogue, len(items)))]
        tops = [self.recommend(part, k) for part in parts]
        rows, scores = (np.concatenate(each) for each in zip(*tops, strict=True))
        paired = np.concatenate([self.score(part, items) for part in parts])
        return Answers(rows, scores, paired, self.bounds(users[:BOUND_USERS]))

    def bounds(self, users: Rows) -> NDArray[np.float32]:
        """The screen's bounds of every block, with queries of 7 bits, which are exact on every processor; none without a screen."""
        if contract.SCREEN not in self._sessions:
            return np.zeros((len(users), 0), np.float32)
        (vectors,) = self._sessions[contract.USER].run([contract.QUERY], {contract.USER_ID: users})
        feed = {contract.QUERY: vectors, contract.LEVELS: np.array([63], np.float32), contract.BLOCKS: np.array([1])}
        bounds, unit = self._sessions[contract.SCREEN].run([contract.BOUND, contract.UNIT], feed)
        products: NDArray[np.float32] = bounds * unit
        return products

    def unguarded(self, users: int, items: int) -> list[str]:
        """The inputs that a row outside the table gets an answer for: there must be none."""
        fine = np.zeros(1, np.int64)
        trials = [(contract.USER_ID, np.array([row]), fine) for row in (-1, users)]
        trials += [(contract.ITEM_ID, fine, np.array([row])) for row in (-1, items)]
        found = {f"{name} of {contract.GRAPHS[contract.SCORE]}" for name, *rows in trials if not self._refuses(self.score, *rows)}
        if not all(self._refuses(self.recommend, row, 1) for _, row, _ in trials[:2]):
            found.add(f"{contract.USER_ID} of {contract.GRAPHS[contract.RECOMMEND]}")
        return sorted(found)

    def astray(self, users: Rows, items: Rows, k: int, catalogue: int) -> list[str]:
        """The graphs that answer the vectors of users, or their products, otherwise than the users: there must be none."""
        if not contract.QUERY_GRAPHS.keys() <= self._sessions.keys():
            return []
        parts = _batches(len(users), max(catalogue, len(items)))
        return sorted({name for part in parts for name in self._astray(users[part], items, k)})

    def _astray(self, users: Rows, items: Rows, k: int) -> list[str]:
        (vectors,) = self._sessions[contract.USER].run([contract.QUERY], {contract.USER_ID: users})
        trials = (
            (contract.RECOMMEND_QUERY, {contract.K: np.array([k])}, self.recommend(users, k)[1]),
            (contract.SCORE_QUERY, {contract.ITEM_ID: items}, self.score(users, items)),
        )
        found = []
        for role, feed, expected in trials:
            (scores,) = self._sessions[role].run([contract.SCORE_OUT], {contract.QUERY: vectors, **feed})
            if not score_difference(expected.astype(np.float64), scores)[1]:
                found.append(contract.QUERY_GRAPHS[role])
        return [*found, *self._unfinished(users, items)]

    def _unfinished(self, users: Rows, items: Rows) -> list[str]:
        """The graph of a score's tail, where it makes other scores of the products than the graph that scores."""
        if contract.FINISH not in self._sessions:
            return []
        feed = {contract.USER_ID: users, contract.ITEM_ID: items}
        products, expected = self._sessions[contract.SCORE].run([contract.PRODUCT, contract.SCORE_OUT], feed)
        (scores,) = self._sessions[contract.FINISH].run([contract.SCORE_OUT], {contract.PRODUCT: products.reshape(-1)})
        within = score_difference(expected.reshape(-1).astype(np.float64), scores)[1]
        return [] if within else [contract.FINISH_GRAPHS[contract.FINISH]]

    def _refuses(self, run: Any, *arguments: Any) -> bool:
        try:
            run(*arguments)
        except self._errors:
            return True
        return False


def compare_golden(graphs: Graphs, golden: Golden, catalogue: int) -> dict[str, Any]:
    """The golden sample against what the graphs say here and now."""
    found = graphs.answers(golden.user_row, golden.sample_item, golden.item_row.shape[1], catalogue)
    tops = zip(golden.item_row, golden.score, found.rows, found.scores, strict=True)
    agreement = float(np.mean([same_top(*each) for each in tops]))
    top_gap, _ = score_difference(golden.score, found.scores)
    gap, close = score_difference(golden.sample_score, found.paired)
    return {"largest_difference": max(gap, top_gap), "top_k_agreement": agreement, "passed": close and agreement == 1.0}


def main() -> None:
    """Print what the golden sample shows; exit 1 where it disagrees."""
    folder, *files = (Path(argument) for argument in sys.argv[1:])
    graphs = Graphs(folder)
    users, items = _counts(folder)
    with np.load(folder / contract.GOLDEN, allow_pickle=False) as arrays:
        golden = Golden.from_arrays(arrays, users, items)
    report = {
        **compare_golden(graphs, golden, items),
        "unguarded": graphs.unguarded(users, items),
        "astray": graphs.astray(golden.user_row, golden.sample_item, golden.item_row.shape[1], items),
    }
    sys.stdout.write(json.dumps(report) + os.linesep)
    if files:
        request, target = files
        with np.load(request) as asked:
            answers = graphs.answers(asked["users"], asked["items"], int(asked["k"][0]), items)
        np.savez(target, **vars(answers))
    elif not report["passed"] or report["unguarded"] or report["astray"]:
        sys.exit(1)


def _counts(folder: Path) -> tuple[int, int]:
    """Rows of both sides, as the graph that ranks has them."""
    from recoserve.bundle import graph_file

    tensors = graph_file.read((folder / contract.GRAPHS[contract.RECOMMEND]).read_bytes()).tensors
    users, items = (
        int(np.frombuffer(tensor.raw, np.int64)[0]) for name in contract.ROW_COUNTS for tensor in tensors if tensor.name == name
    )
    return users, items


def tolerance() -> dict[str, float]:
    """What a score may differ by, as the manifest records it."""
    return {"absolute": ABSOLUTE, "relative": RELATIVE, "of_largest": OF_LARGEST}


if __name__ == "__main__":
    main()
