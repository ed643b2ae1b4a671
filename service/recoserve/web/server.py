"""uvicorn, with a shutdown that loses no request.

uvicorn closes its listeners as soon as a signal comes, while a load balancer still sends requests. So the first SIGTERM only
turns `/readyz` to 503; the listeners close `drain_seconds` later, requests in flight finish, and the exit code is 0. SIGINT (from a
person at a terminal) and a second signal skip the wait.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from recoserve import malloc
from recoserve.errors import BundleInvalid, SettingsInvalid
from recoserve.scheduling.loader import load_model
from recoserve.scheduling.registry import ModelRegistry, RegistryState
from recoserve.search.model import Model
from recoserve.search.session import resolve_provider
from recoserve.settings import Settings
from recoserve.web import logs
from recoserve.web.app import create_app

SHUTDOWN_SECONDS = 30  # for requests in flight once the listeners are closed
KEEP_ALIVE_SECONDS = 5
BACKLOG = 2048
GC_THRESHOLD = 20_000  # new container objects that start a garbage collection: more than 500 requests in flight have
SWITCH_SECONDS = 5e-4  # how long the event loop or the inference thread may hold the interpreter while the other waits for it

log = logging.getLogger("recoserve.server")


class Server(uvicorn.Server):
    """A uvicorn server that drains its registry before it stops."""

    def __init__(self, config: uvicorn.Config, registry: ModelRegistry, drain_seconds: float) -> None:
        super().__init__(config)
        self._registry = registry
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        is_first_signal = self._registry.state is not RegistryState.DRAINING
        if is_first_signal:
            self._registry.drain()
        if not is_first_signal or sig == signal.SIGINT or not self._drain_seconds or not self._registry.started:
            self.should_exit = True
            return
        # Nothing is logged here: the signal may have interrupted the log in the middle of a line, and a stream refuses to be
        # entered a second time.
        self._loop.call_soon_threadsafe(self._stop_later)

    def _stop_later(self) -> None:
        log.info("draining for %g s", self._drain_seconds)
        self._loop.call_later(self._drain_seconds, self.stop)

    def stop(self) -> None:
        self.should_exit = True

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)


def serve(settings: Settings, bundles: Sequence[Path], announce: Callable[[str], None] | None = None) -> None:
    """Serve the models in `bundles`, the default one first, until a signal; `announce` is called with the address once they answer.

    Raises ProviderUnavailable and SettingsInvalid at once, and BundleInvalid after the server has stopped.
    """
    malloc.configure()
    logs.configure(settings.log_format)
    # With Python's own 5 ms, a short run in the inference thread is measured as a long one, because it waits that long for the
    # interpreter; so the runner would keep it in the thread for as long as there is load.
    sys.setswitchinterval(SWITCH_SECONDS)
    resolve_provider(settings.provider)
    listener = _listen(settings.host, settings.port)

    def loaded(registry: ModelRegistry) -> None:
        if not registry.started:
            server.stop()
            return
        _tune_garbage_collection()
        url = _address(listener)
        _log_serving(registry, url, chosen=settings.default_model is not None)
        if announce:
            announce(url)

    loaders = [partial(_load, bundle, settings) for bundle in bundles]
    app = create_app(settings, loaders, loaded)
    config = uvicorn.Config(
        app.asgi,
        http=_http_protocol(),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = Server(config, app.registry, settings.drain_seconds)
    server.run([listener])
    if app.registry.failure:
        raise app.registry.failure


def _http_protocol() -> type[asyncio.Protocol] | str:
    """Our connection, or uvicorn's own where its version lacks what ours needs."""
    try:
        from recoserve.web.connection import protocol
    except ImportError:  # a name that uvicorn has given up
        return "httptools"
    return protocol()


def _load(bundle: Path, settings: Settings) -> Model:
    """A bundle's model; an error names the folder, which may be one of several."""
    try:
        return load_model(bundle, settings.provider, settings.threads, settings.retrieval)
    except BundleInvalid as error:
        raise error.within(bundle) from None


def _log_serving(registry: ModelRegistry, url: str, chosen: bool) -> None:
    """Log what is served and where; `chosen` says that the settings name the default model."""
    manifests = [model.manifest for model in registry.models]
    default, others = manifests[0], [f"{manifest.name} {manifest.version}" for manifest in manifests[1:]]
    if others:
        why = "as set" if chosen else "the first in alphabetical order; --default-model chooses another"
        log.info("the default model is %s (%s); also served: %s", default.name, why, ", ".join(others))
    seconds = sum(registry.loaded(manifest.name).seconds for manifest in manifests)
    log.info("serving", extra={"model": default.name, "version": default.version, "url": url, "load_seconds": seconds})


def _tune_garbage_collection() -> None:
    """Exempt what is loaded from garbage collection, and collect seldom: requests leave no reference cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket: bound before the models load, so that a taken port is an error at once."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    except OSError as error:
        raise SettingsInvalid(f"can't listen on {host} port {port}: {error.strerror}; choose another --host or --port") from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
