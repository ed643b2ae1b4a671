"""The sample that travels with a bundle: what the source framework itself answered, checked wherever the bundle loads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoserve.errors import BundleInvalid

# Float32 sums in another order differ by about 1e-7 of the terms added, which long vectors at right angles make far larger
# than their score: so the largest score of a sample sets the scale too. A wrong row differs by far more.
ABSOLUTE, RELATIVE, OF_LARGEST = 1e-5, 1e-4, 1e-5


@dataclass(frozen=True)
class Golden:
    """A sample of users with the source framework's scores.

    `user_row` int64 [S]; its best items `item_row` int64 [S, K] with `score` float64 [S, K], best first;
    and for items picked at random, `sample_item` int64 [M], the scores `sample_score` float64 [S, M].
    """

    user_row: NDArray[np.int64]
    item_row: NDArray[np.int64]
    score: NDArray[np.float64]
    sample_item: NDArray[np.int64]
    sample_score: NDArray[np.float64]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], users: int, items: int) -> "Golden":
        """Check names, dtypes, shapes and ranges; raises BundleInvalid."""
        try:
            golden = cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise BundleInvalid([f"the golden sample lacks {error}"]) from None
        problems = list(golden._problems(users, items))
        if problems:
            raise BundleInvalid(problems)
        return golden

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _problems(self, users: int, items: int) -> Iterator[str]:
        size, top = len(self.user_row), self.item_row.shape[-1] if self.item_row.ndim else 0
        shapes = {"user_row": (size,), "item_row": (size, top), "score": (size, top)}
        shapes |= {"sample_item": (len(self.sample_item),), "sample_score": (size, len(self.sample_item))}
        for name, shape in shapes.items():
            array = getattr(self, name)
            dtype = np.float64 if "score" in name else np.int64
            if array.shape != shape or array.dtype != dtype or not array.size:
                yield f"the golden sample's {name} must be {np.dtype(dtype)} of shape {shape}"
            elif "score" in name and not np.isfinite(array).all():
                yield f"the golden sample's {name} holds NaN or infinity"
            elif "score" not in name and not (array.min() >= 0 and array.max() < (users if name == "user_row" else items)):
                yield f"the golden sample's {name} is outside the table"


def tolerance(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest difference from each expected score that float32 arithmetic can explain."""
    magnitude = np.abs(expected)
    bound: NDArray[np.float64] = ABSOLUTE + RELATIVE * magnitude + OF_LARGEST * magnitude.max(initial=0.0)
    return bound


def score_difference(expected: NDArray[np.float64], found: NDArray[np.floating[Any]]) -> tuple[float, bool]:
    """Largest absolute difference between two arrays of scores, and whether all are within tolerance."""
    if expected.shape != found.shape:
        return float("inf"), False
    difference = np.abs(expected - found)
    return float(difference.max(initial=0.0)), bool(np.all(difference <= tolerance(expected)))


def same_top(
    expected_rows: NDArray[np.int64], expected: NDArray[np.float64], rows: NDArray[np.int64], scores: NDArray[np.floating[Any]]
) -> bool:
    """Whether one user's top-k equals the expected one, items of equal score (within tolerance) being interchangeable.

    All of shape [K], best first. Scores must agree place by place; an item that is not expected must tie with the last
    expected one, and none may stand twice.
    """
    if rows.shape != expected_rows.shape:
        return False
    agrees = score_difference(expected, scores)[1] and len(set(rows.tolist())) == len(rows)
    strangers = ~np.isin(rows, expected_rows)
    return agrees and bool(np.all(np.abs(scores[strangers] - expected[-1]) <= tolerance(expected)[-1]))
