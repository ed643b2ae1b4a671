"""The golden sample: scores and top-k lists of the source framework, which every host that loads the bundle has to reproduce."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.bundle.arrays import Float64Array, Rows
from recoserve.errors import BundleInvalid

# The three terms of `tolerance`. Float32 sums in another order differ by about 1e-7 of their terms. If long vectors are almost at
# right angles, the terms are far larger than the score; then only the sample's largest score says how large they may be. The
# score of a wrong row differs by far more.
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, TOLERANCE_OF_LARGEST = 1e-5, 1e-4, 1e-5


@dataclass(frozen=True)
class Golden:
    """A sample of users with the source framework's scores.

    `user_row` int64 [S] are the users; `item_row` int64 [S, K] and `score` float64 [S, K] are their best items, best first.
    `sample_item` int64 [M] are items picked at random, `sample_score` float64 [S, M] the scores of all of them for every user.
    """

    user_row: Rows
    item_row: Rows
    score: Float64Array
    sample_item: Rows
    sample_score: Float64Array

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], user_count: int, item_count: int) -> "Golden":
        """The sample in named arrays, after a check of names, dtypes, shapes and ranges; raises BundleInvalid."""
        try:
            golden = cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise BundleInvalid([f"the golden sample lacks {error}"]) from None
        problems = list(golden._problems(user_count, item_count))
        if problems:
            raise BundleInvalid(problems)
        return golden

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as `from_arrays` reads them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _problems(self, user_count: int, item_count: int) -> Iterator[str]:
        sample_size, k = len(self.user_row), self.item_row.shape[-1] if self.item_row.ndim else 0
        shapes = {"user_row": (sample_size,), "item_row": (sample_size, k), "score": (sample_size, k)}
        shapes |= {"sample_item": (len(self.sample_item),), "sample_score": (sample_size, len(self.sample_item))}
        for name, shape in shapes.items():
            array = getattr(self, name)
            holds_scores = name in ("score", "sample_score")
            dtype = np.float64 if holds_scores else np.int64
            if array.shape != shape or array.dtype != dtype or not array.size:
                yield f"the golden sample's {name} must be {np.dtype(dtype)} of shape {shape}"
            elif holds_scores and not np.isfinite(array).all():
                yield f"the golden sample's {name} holds NaN or infinity"
            elif not holds_scores and not (array.min() >= 0 and array.max() < (user_count if name == "user_row" else item_count)):
                yield f"the golden sample's {name} is outside the table"


def tolerance(expected: Float64Array) -> Float64Array:
    """The largest difference from each expected score that float32 arithmetic can explain; of the same shape."""
    magnitude = np.abs(expected)
    largest = magnitude.max(initial=0.0)
    differences: Float64Array = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * magnitude + TOLERANCE_OF_LARGEST * largest
    return differences


def score_difference(expected: Float64Array, scores: NDArray[np.floating[Any]]) -> tuple[float, bool]:
    """The largest absolute difference between two arrays of scores, and whether every difference is within `tolerance`.

    Infinity and False where the shapes differ.
    """
    if expected.shape != scores.shape:
        return float("inf"), False
    difference = np.abs(expected - scores)
    return float(difference.max(initial=0.0)), bool(np.all(difference <= tolerance(expected)))


def same_top(expected_rows: Rows, expected: Float64Array, rows: Rows, scores: NDArray[np.floating[Any]]) -> bool:
    """Whether one user's top k is the expected one; items whose scores are equal within `tolerance` may have changed places.

    All arrays are of shape [K], best first.
    """
    if rows.shape != expected_rows.shape:
        return False
    _, scores_agree = score_difference(expected, scores)
    distinct = len(set(rows.tolist())) == len(rows)
    # An item that isn't expected is right only if its score equals that of the last expected one. Otherwise it is a wrong item with
    # the score of an expected one.
    unexpected = ~np.isin(rows, expected_rows)
    tied_with_last = np.abs(scores[unexpected] - expected[-1]) <= tolerance(expected)[-1]
    return scores_agree and distinct and bool(np.all(tied_with_last))
