"""What a scorer to be exported consists of, the features of the items, and the framework's own scores of any pairs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.export import models  # noqa: F401  # chooses the backend of Keras before its first import

GENRES, TAGS, MOST_TAGS = 7, 12, 4


@dataclass(frozen=True)
class Case:
    """A scorer: `build(users, items)` makes the model; `features` are its inputs beside the user and the item.

    `needs_ids`: no table has a row for each user or item, so that the export needs their ids. `refusal`: a pattern that the message
    must match where the model is refused; empty where it may not be.
    """

    name: str
    build: Callable[[int, int], Any]
    features: tuple[str, ...] = ()
    needs_ids: bool = False
    refusal: str = ""


class Cases(dict[str, Case]):
    """Scorers by name; `add` is a decorator that registers the class or function that builds one."""

    def add(self, *features: str, needs_ids: bool = False, refusal: str = "") -> Callable[[Any], Any]:
        def register(build: Any) -> Any:
            self[build.__name__] = Case(build.__name__, build, features, needs_ids, refusal)
            return build

        return register


def features(items: int, seed: int = 3) -> dict[str, NDArray[Any]]:
    """The values of every feature for each item, by the names of the models' inputs."""
    rng = np.random.default_rng(seed)
    several = (rng.random((items, GENRES)) < 0.3).astype(np.float32)
    return {
        "genre": rng.integers(0, GENRES, items),
        "publisher": rng.integers(0, 11, items),
        "genres": several,
        "tags": rng.integers(1, TAGS, (items, MOST_TAGS)) * (np.arange(MOST_TAGS) <= rng.integers(0, MOST_TAGS, items)[:, None]),
        "popularity": rng.lognormal(3, 1.5, items).astype(np.float32).round(),
        "year": rng.integers(1930, 2025, items).astype(np.float32),
        "price": rng.gamma(2, 5, items).astype(np.float32),
        "dense": rng.normal(size=(items, 5)).astype(np.float32),
    }


def trained(model: Any, gain: float, seed: int = 5) -> Any:
    """The model with weights as training leaves them: no bias 0, no statistic 0 or 1; `gain` widens its layers."""
    rng = np.random.default_rng(seed)
    for name, shape, assign in _weights(model):
        assign(_drawn(rng, name.lower(), shape, gain).astype(np.float32))
    return model


def _drawn(rng: np.random.Generator, name: str, shape: tuple[int, ...], gain: float) -> NDArray[Any]:
    if "var" in name:
        return rng.uniform(0.4, 2.5, shape)
    if len(shape) < 2:
        return rng.normal(0.3, 0.6, shape)
    return rng.normal(size=shape) * (gain * 0.7)


def _weights(model: Any) -> Iterator[tuple[str, tuple[int, ...], Callable[[NDArray[Any]], Any]]]:
    import torch

    if not hasattr(model, "get_weights"):
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and not name.startswith("fixed") and "fixed" not in name:
                yield (
                    name,
                    tuple(tensor.shape),
                    lambda values, tensor=tensor: tensor.data.copy_(torch.from_numpy(np.asarray(values))),
                )
        return
    for weight in model.weights:
        if "seed" not in weight.path and "count" not in weight.path:
            yield weight.path, tuple(weight.shape), weight.assign


def framework_scores(model: Any, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The framework's own forward of all rows at once, float64 [rows]."""
    import torch

    if hasattr(model, "get_weights"):
        shaped = {
            tensor.name: inputs["item" if tensor.name == "movie" else tensor.name].reshape(-1, *tensor.shape[1:])
            for tensor in model.inputs
        }
        return np.asarray(model.predict(shaped, verbose=0, batch_size=1 << 20), np.float64).reshape(-1)
    with torch.no_grad():
        dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
        tensors = {name: torch.from_numpy(np.asarray(values)) for name, values in inputs.items()}
        cast = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        return model.eval()(**cast).double().numpy().reshape(-1)


def all_pairs(
    model: Any, case: Case, users: NDArray[np.int64], items: NDArray[np.int64], known: Mapping[str, NDArray[Any]] | None = None
) -> NDArray[np.float64]:
    """The framework's scores of every user with every item, [users, items]; `known` has the features of all items."""
    known = known or features(int(items.max()) + 1)
    inputs = {"user": np.repeat(users, len(items)), "item": np.tile(items, len(users))}
    inputs |= {name: known[name][inputs["item"]] for name in case.features}
    return framework_scores(model, inputs).reshape(len(users), len(items))
