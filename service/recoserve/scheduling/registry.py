"""The models that answer and what may happen to them.

    EMPTY --load--> LOADING --loaded--> READY --drain--> DRAINING
                       |                                    ^
                       +--failed--> FAILED      EMPTY, LOADING, FAILED --drain--+

`current` gives a model in READY and in DRAINING (requests that still arrive are answered while the listeners close);
it raises NotReady before. A load brings all models or, where one fails, none. Every other step is a defect and raises RuntimeError.
"""

import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from recoserve import metrics
from recoserve.errors import FieldError, NotReady, UnknownModel
from recoserve.search.model import Model

MOST_NAMES = 20  # that an error tells


class State(Enum):
    EMPTY = "empty"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


class Loaded(NamedTuple):
    """A model that answers, when it was loaded (seconds since the epoch), and how many seconds that took."""

    model: Model
    at: float
    seconds: float


class ModelRegistry:
    """Holds the models by name, the default one first; reading them is one attribute access, so a request never sees half of a
    change.
    """

    def __init__(self) -> None:
        self.state = State.EMPTY
        self.failure: Exception | None = None
        self._loaded: dict[str, Loaded] = {}

    @property
    def started(self) -> bool:
        """Whether the models have been loaded and warmed up."""
        return bool(self._loaded)

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now, and new ones are wanted."""
        return self.state is State.READY

    @property
    def models(self) -> list[Model]:
        """All that answer, the default one first."""
        return [loaded.model for loaded in self._loaded.values()]

    def current(self, name: str | None = None) -> Model:
        """The model of that name, or the default one; raises NotReady before there is one, and UnknownModel."""
        return self.loaded(name).model

    def loaded(self, name: str | None = None) -> Loaded:
        """The same, and what is known of its loading."""
        held = self._loaded
        if not held:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("no model is loaded yet; try again shortly")
        if name is None:
            return next(iter(held.values()))
        if name not in held:
            raise _unknown(list(held))
        return held[name]

    def load(self, loaders: Sequence[Callable[[], Model]]) -> None:
        """Load the models one after another, the default one first, each of a name of its own.

        Blocks, so call it off the event loop. Whatever a loader raises is kept as `failure`.
        """
        self._step(State.LOADING, {State.EMPTY})
        try:
            found = [_timed(loader) for loader in loaders]
        except Exception as error:  # noqa: BLE001  # nothing is lost: whoever runs the service raises it again
            self.failure = error
            self._settle(State.FAILED)
            return
        self._loaded = {loaded.model.manifest.name: loaded for loaded in found}
        for model in self.models:
            info = model.manifest
            metrics.MODEL_INFO.labels(info.name, info.version, info.similarity, model.provider).set(1)
        metrics.MODEL_LOADED.set(found[-1].at)
        self._settle(State.READY)

    def drain(self) -> None:
        """Say that no new requests are wanted; those that come are still answered."""
        self._step(State.DRAINING, set(State) - {State.DRAINING})

    def _settle(self, to: State) -> None:
        """The end of a load; one that a drain overtook stays DRAINING."""
        if self.state is not State.DRAINING:
            self._step(to, {State.LOADING})

    def _step(self, to: State, legal: set[State]) -> None:
        if self.state not in legal:
            raise RuntimeError(f"no way from {self.state.value} to {to.value}")
        self.state = to


def _timed(loader: Callable[[], Model]) -> Loaded:
    began = time.monotonic()
    model = loader()
    return Loaded(model, time.time(), time.monotonic() - began)


def _unknown(names: list[str]) -> UnknownModel:
    told, more = ", ".join(names[:MOST_NAMES]), len(names) - MOST_NAMES
    others = f" and {more} more, which GET /model lists" if more > 0 else ""
    return UnknownModel(f"model must be one of {told}{others}", [FieldError(("model",), "is not the name of a model served here")])
