"""The active model and what may happen to it.

    EMPTY --load--> LOADING --loaded--> READY --drain--> DRAINING
                       |                                    ^
                       +--failed--> FAILED      EMPTY, LOADING, FAILED --drain--+

`current` gives the model in READY and in DRAINING (requests that still arrive are answered while the listeners close);
it raises NotReady before. Every other step is a defect and raises RuntimeError.
"""

import time
from collections.abc import Callable
from enum import Enum

from service import metrics
from service.engine.model import Model
from service.errors import NotReady


class State(Enum):
    EMPTY = "empty"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


class Slot:
    """Holds at most one model; reading it is one attribute access, so a request never sees half of a change."""

    def __init__(self) -> None:
        self.state = State.EMPTY
        self.failure: Exception | None = None
        self.loaded_at: float | None = None  # seconds since the epoch
        self.load_seconds: float | None = None
        self._model: Model | None = None

    @property
    def started(self) -> bool:
        """Whether the first model has been loaded and warmed up."""
        return self._model is not None

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now, and new ones are wanted."""
        return self.state is State.READY

    def current(self) -> Model:
        """The model that answers; raises NotReady before there is one."""
        if self._model is None:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("no model is loaded yet; try again shortly")
        return self._model

    def load(self, loader: Callable[[], Model]) -> None:
        """Load the first model; blocks, so call it off the event loop. Whatever the loader raises is kept as `failure`."""
        self._step(State.LOADING, {State.EMPTY})
        began = time.monotonic()
        try:
            model = loader()
        except Exception as error:  # noqa: BLE001  # nothing is lost: whoever runs the service raises it again
            self.failure = error
            self._settle(State.FAILED)
            return
        self._model = model
        self.load_seconds, self.loaded_at = time.monotonic() - began, time.time()
        info = model.manifest
        metrics.MODEL_INFO.labels(info.name, info.version, info.similarity, model.provider).set(1)
        metrics.MODEL_LOADED.set(self.loaded_at)
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
