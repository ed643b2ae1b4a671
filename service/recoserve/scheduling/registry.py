"""The models that answer, and the states that loading goes through.

    EMPTY --load--> LOADING --loaded--> READY --drain--> DRAINING
                       |                                    ^
                       +--failed--> FAILED      EMPTY, LOADING, FAILED --drain--+

Requests are answered in READY, and in DRAINING those that still arrive while the listeners close; before that they get NotReady.
A load brings all models or, where one fails, none. Every other step is a defect and raises RuntimeError.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from recoserve import metrics
from recoserve.errors import FieldError, NotReady, UnknownModel
from recoserve.search.model import Model

MAX_LISTED_NAMES = 20  # in one error message


class RegistryState(Enum):
    """How far loading has come, and whether new requests are still wanted."""

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
    """Holds the models by name, the default one first.

    `by_name` is replaced as a whole when models are loaded, never changed, so a request sees all of a load or nothing of it.
    It has the default model under None as well, for requests that name no model.
    """

    def __init__(self) -> None:
        self.state = RegistryState.EMPTY
        self.failure: Exception | None = None
        self.by_name: Mapping[str | None, Model] = {}
        self._loaded: dict[str, Loaded] = {}

    @property
    def started(self) -> bool:
        """Whether the models have been loaded and warmed up."""
        return bool(self._loaded)

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now, and new ones are wanted."""
        return self.state is RegistryState.READY

    @property
    def models(self) -> list[Model]:
        """All models that answer, the default one first."""
        return [loaded.model for loaded in self._loaded.values()]

    def current(self, name: str | None = None) -> Model:
        """The model of that name, or the default one; raises NotReady before there is one, and UnknownModel."""
        return self.loaded(name).model

    def loaded(self, name: str | None = None) -> Loaded:
        """The model of that name, or the default one, with the time of its loading; raises NotReady and UnknownModel."""
        models = self._loaded
        if not models:
            metrics.REJECTED.labels("not_ready").inc()
            raise NotReady("no model is loaded yet; try again shortly")
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            raise _unknown_model(list(models))
        return models[name]

    def load(self, loaders: Sequence[Callable[[], Model]]) -> None:
        """Load the models one after another, the default one first, each of a name of its own.

        Blocks, so call it off the event loop. Whatever a loader raises becomes `failure`.
        """
        self._step(RegistryState.LOADING, {RegistryState.EMPTY})
        try:
            models = [_load_timed(loader) for loader in loaders]
        except Exception as error:  # noqa: BLE001  # nothing is lost: whoever runs the service raises it again
            self.failure = error
            self._finish_load(RegistryState.FAILED)
            return
        self._loaded = {loaded.model.manifest.name: loaded for loaded in models}
        self.by_name = {None: models[0].model, **{name: loaded.model for name, loaded in self._loaded.items()}}
        for model in self.models:
            manifest = model.manifest
            metrics.MODEL_INFO.labels(manifest.name, manifest.version, manifest.similarity, model.provider).set(1)
        metrics.MODEL_LOADED.set(models[-1].at)
        self._finish_load(RegistryState.READY)

    def drain(self) -> None:
        """Say that no new requests are wanted; those that come are still answered."""
        self._step(RegistryState.DRAINING, set(RegistryState) - {RegistryState.DRAINING})

    def _finish_load(self, state: RegistryState) -> None:
        """Leave LOADING; where `drain` was called during the load, the registry stays DRAINING."""
        if self.state is not RegistryState.DRAINING:
            self._step(state, {RegistryState.LOADING})

    def _step(self, state: RegistryState, legal: set[RegistryState]) -> None:
        if self.state not in legal:
            raise RuntimeError(f"no step leads from {self.state.value} to {state.value}")
        self.state = state


def _load_timed(loader: Callable[[], Model]) -> Loaded:
    started_at = time.monotonic()
    model = loader()
    return Loaded(model, time.time(), time.monotonic() - started_at)


def _unknown_model(names: list[str]) -> UnknownModel:
    listed, unlisted = ", ".join(names[:MAX_LISTED_NAMES]), len(names) - MAX_LISTED_NAMES
    others = f" and {unlisted} more, which GET /model lists" if unlisted > 0 else ""
    return UnknownModel(
        f"model must be one of {listed}{others}", [FieldError(("model",), "is not the name of a model served here")]
    )
