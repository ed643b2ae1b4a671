"""Two clients: the calls of `Client` block, those of `AsyncClient` are awaited. Both have the methods that `calls` describes."""

import asyncio
import inspect
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx

from recoserve.client import calls
from recoserve.client.calls import ApiCall, Parsed
from recoserve.client.responses import HttpResponse
from recoserve.client.retries import CallState, Pause, RetryPolicy

# The service closes a connection after 5 idle seconds. The client closes it earlier: a request that is sent at the moment when the
# service closes it would be lost.
KEEP_ALIVE_SECONDS = 4.0
CONNECTIONS = 100

Parameters = ParamSpec("Parameters")
HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)


class _BaseClient(Generic[HttpClient]):
    """What both clients have in common: the retry policy, and an httpx client that holds the connections."""

    _http_class: type[HttpClient]

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
        """A client of one service.

        Parameters
        ----------
        base_url : str
            The service's address, for instance ``http://127.0.0.1:8000``; it may have a path.
        timeout : float
            Seconds for a call, retries and pauses included. The service learns how many remain, and gives up at the same time.
        retries : int
            Attempts after the first, where the service is overloaded, not ready, or can't be reached.
        api_key : str, optional
            Sent as a bearer token.
        headers : mapping of str to str, optional
            Sent with every call.
        verify : ssl.SSLContext or bool
            How the service's certificate is checked: the `verify` of httpx.

        Raises
        ------
        ValueError
            ``base_url`` is no http or https address, ``timeout`` isn't above 0, or ``retries`` is negative.
        """
        self._policy = RetryPolicy(timeout, retries)
        authorization = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http: HttpClient = self._http_class(
            base_url=_address(base_url),
            headers={**authorization, **(headers or {})},
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


# Each method of a client is made from the function of the same name in `calls`, so that parameters, types and docstring are written
# only once. Type checkers follow the ParamSpec; `help` and notebooks read the copied signature.


def _copy_signature(build: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Give `method` the name, docstring and parameters of `build`, and as return type the `Parsed` of its `ApiCall[Parsed]`."""
    update_wrapper(method, build)
    signature = inspect.signature(build)
    (parsed,) = signature.return_annotation.__args__
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[self_parameter, *signature.parameters.values()], return_annotation=parsed
    )


def _blocking(build: Callable[Parameters, ApiCall[Parsed]]) -> Callable[Concatenate["Client", Parameters], Parsed]:
    def method(client: "Client", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Parsed:
        return client.send(build(*args, **kwargs))

    _copy_signature(build, method)
    return method


def _awaitable(
    build: Callable[Parameters, ApiCall[Parsed]],
) -> Callable[Concatenate["AsyncClient", Parameters], Coroutine[Any, Any, Parsed]]:
    async def method(client: "AsyncClient", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Parsed:
        return await client.send(build(*args, **kwargs))

    _copy_signature(build, method)
    return method


class Client(_BaseClient[httpx.Client]):
    """A client whose calls block until the response is there; threads may share one.

    It reuses its connections, so make one for many calls; close it at the end, or use ``with``. Every method raises a ClientError
    if it has no result: see the tree in `recoserve.client.errors`.
    """

    _http_class = httpx.Client

    recommend = _blocking(calls.recommend)
    recommend_batch = _blocking(calls.recommend_batch)
    recommend_history = _blocking(calls.recommend_history)
    similar_items = _blocking(calls.similar_items)
    similar_users = _blocking(calls.similar_users)
    score = _blocking(calls.score)
    explain = _blocking(calls.explain)
    model = _blocking(calls.model)
    health = _blocking(calls.health)
    ready = _blocking(calls.ready)

    def send(self, call: ApiCall[Parsed]) -> Parsed:
        """Send a call, again where that may help, and return its parsed response; raises ClientError."""
        state = CallState(call, self._policy)
        while True:
            outcome = state.conclude(self._attempt(state))
            if not isinstance(outcome, Pause):
                return outcome
            time.sleep(outcome.seconds)

    def _attempt(self, state: CallState[Any]) -> HttpResponse | httpx.HTTPError:
        try:
            with self._http.stream(**state.stream_arguments()) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    state.require_time()
                    body += chunk
                return HttpResponse(response.status_code, response.headers, bytes(body))
        except httpx.HTTPError as error:
            return error

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncClient(_BaseClient[httpx.AsyncClient]):
    """A client whose calls are awaited, on asyncio, all within one event loop.

    It reuses its connections, so make one for many calls; close it at the end, or use ``async with``. Every method raises a
    ClientError if it has no result: see the tree in `recoserve.client.errors`.
    """

    _http_class = httpx.AsyncClient

    recommend = _awaitable(calls.recommend)
    recommend_batch = _awaitable(calls.recommend_batch)
    recommend_history = _awaitable(calls.recommend_history)
    similar_items = _awaitable(calls.similar_items)
    similar_users = _awaitable(calls.similar_users)
    score = _awaitable(calls.score)
    explain = _awaitable(calls.explain)
    model = _awaitable(calls.model)
    health = _awaitable(calls.health)
    ready = _awaitable(calls.ready)

    async def send(self, call: ApiCall[Parsed]) -> Parsed:
        """Send a call, again where that may help, and return its parsed response; raises ClientError."""
        state = CallState(call, self._policy)
        while True:
            outcome = state.conclude(await self._attempt(state))
            if not isinstance(outcome, Pause):
                return outcome
            await asyncio.sleep(outcome.seconds)

    async def _attempt(self, state: CallState[Any]) -> HttpResponse | httpx.HTTPError:
        try:
            async with self._http.stream(**state.stream_arguments()) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    state.require_time()
                    body += chunk
                return HttpResponse(response.status_code, response.headers, bytes(body))
        except httpx.HTTPError as error:
            return error

    async def close(self) -> None:
        """Close the connections; no call may follow."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
