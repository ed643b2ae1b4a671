"""The two clients: the same calls, waited for or awaited."""

import asyncio
import inspect
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx

from recoserve.client import calls
from recoserve.client.calls import Call
from recoserve.client.exchange import Exchange, Patience, Pause
from recoserve.client.reply import Reply

# Kept a little shorter than the service keeps them, so that none is taken up again in the moment of its end.
KEEP_ALIVE_SECONDS = 4.0
CONNECTIONS = 100

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class _Settings(Generic[Http]):
    """What both clients are made of."""

    _kind: type[Http]

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        """A client of the service at `base_url`; it keeps its connections, so keep the client.

        `timeout`: seconds for a whole call, retries included; the service is told, and gives up then too. `retries`: attempts after
        the first. `api_key`: sent as a bearer token. `headers`: sent with every call. `verify`: as httpx takes it.
        Raises ValueError for an address or a number that can't be meant.
        """
        self._patience = Patience(timeout, retries)
        key = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http: Http = self._kind(
            base_url=_address(base_url),
            headers={**key, **(headers or {})},
            verify=verify,
            limits=httpx.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS
            ),
        )


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url must be like http://127.0.0.1:8000, not {base_url!r}")
    return url


def _like(build: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Give a method the name, the words and the signature of its call, so that `help` and notebooks show them."""
    update_wrapper(method, build)
    signature = inspect.signature(build)
    (answer,) = signature.return_annotation.__args__
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[this, *signature.parameters.values()], return_annotation=answer
    )


def _waiting(build: Callable[Parameters, Call[Answer]]) -> Callable[Concatenate["Client", Parameters], Answer]:
    def method(client: "Client", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        return client.ask(build(*args, **kwargs))

    _like(build, method)
    return method


def _awaiting(
    build: Callable[Parameters, Call[Answer]],
) -> Callable[Concatenate["AsyncClient", Parameters], Coroutine[Any, Any, Answer]]:
    async def method(client: "AsyncClient", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        return await client.ask(build(*args, **kwargs))

    _like(build, method)
    return method


class Client(_Settings[httpx.Client]):
    """Calls wait for their answer; threads may share one client. Each raises ClientError, as told in `recoserve.client.errors`."""

    _kind = httpx.Client

    recommend = _waiting(calls.recommend)
    recommend_batch = _waiting(calls.recommend_batch)
    recommend_history = _waiting(calls.recommend_history)
    similar_items = _waiting(calls.similar_items)
    similar_users = _waiting(calls.similar_users)
    score = _waiting(calls.score)
    explain = _waiting(calls.explain)
    model = _waiting(calls.model)
    health = _waiting(calls.health)
    ready = _waiting(calls.ready)

    def ask(self, call: Call[Answer]) -> Answer:
        """The answer to a call, tried again where that may help."""
        exchange = Exchange(call, self._patience)
        while True:
            outcome = exchange.judge(self._outcome(exchange))
            if not isinstance(outcome, Pause):
                return outcome
            time.sleep(outcome.seconds)

    def _outcome(self, exchange: Exchange[Any]) -> Reply | httpx.HTTPError:
        try:
            with self._http.stream(**exchange.attempt()) as response:
                pieces = [exchange.in_time(piece) for piece in response.iter_bytes()]
                return Reply(response.status_code, response.headers, b"".join(pieces))
        except httpx.HTTPError as error:
            return error

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncClient(_Settings[httpx.AsyncClient]):
    """Calls are awaited, on asyncio. Each raises ClientError, as told in `recoserve.client.errors`."""

    _kind = httpx.AsyncClient

    recommend = _awaiting(calls.recommend)
    recommend_batch = _awaiting(calls.recommend_batch)
    recommend_history = _awaiting(calls.recommend_history)
    similar_items = _awaiting(calls.similar_items)
    similar_users = _awaiting(calls.similar_users)
    score = _awaiting(calls.score)
    explain = _awaiting(calls.explain)
    model = _awaiting(calls.model)
    health = _awaiting(calls.health)
    ready = _awaiting(calls.ready)

    async def ask(self, call: Call[Answer]) -> Answer:
        """The answer to a call, tried again where that may help."""
        exchange = Exchange(call, self._patience)
        while True:
            outcome = exchange.judge(await self._outcome(exchange))
            if not isinstance(outcome, Pause):
                return outcome
            await asyncio.sleep(outcome.seconds)

    async def _outcome(self, exchange: Exchange[Any]) -> Reply | httpx.HTTPError:
        try:
            async with self._http.stream(**exchange.attempt()) as response:
                pieces = [exchange.in_time(piece) async for piece in response.aiter_bytes()]
                return Reply(response.status_code, response.headers, b"".join(pieces))
        except httpx.HTTPError as error:
            return error

    async def close(self) -> None:
        """Close the connections; no call may follow."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
