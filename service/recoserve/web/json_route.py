"""A FastAPI route that reads JSON strictly: documented by its signature, answered by one plain ASGI function."""

import asyncio
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any, TypeVar

import orjson
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from recoserve import strict_json
from recoserve.settings import Settings
from recoserve.web import limits, problems
from recoserve.web.context import Context, Lane

Schema = TypeVar("Schema", bound=BaseModel)

ORJSON_BITS = 64  # of the integers that it takes


class JsonRoute(APIRoute):
    """For endpoints of the form `async def endpoint(caller: Caller, body: Schema) -> bytes`, the answer's JSON.

    FastAPI's own handler would echo input in its 422, take `"1"` for 1 in places, and fail on what JSON can't hold.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._schema: type[BaseModel] = signature(endpoint, eval_str=True).parameters["body"].annotation

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's way in, for what comes past the lane."""
        if scope["method"] in (self.methods or ()):
            answer = await self.answer(scope["recoserve"], receive)
            await Response(answer, media_type="application/json")(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # the 405

    async def answer(self, context: Context, receive: Receive) -> bytes:
        """The whole route; what it raises becomes a problem in `context`."""
        settings = context.service.settings
        limits.require_json(context.headers)
        sent = await limits.read_body(context.headers, receive, settings.max_body_bytes)
        body = understood(self._schema, sent, settings)
        visit = context.service.disconnects.enter(receive)
        try:
            answer: bytes = await self.endpoint(context, body)
        except asyncio.CancelledError:
            if visit.gone:
                raise ClientDisconnect from None
            raise
        finally:
            visit.leave()
        return answer


def lane(routes: Iterable[BaseRoute]) -> Lane:
    """The JSON routes by method and path, for whoever takes the short way to them."""
    found = [route for route in routes if isinstance(route, JsonRoute)]
    return {(method, route.path): route.answer for route in found for method in route.methods or ()}


def understood(schema: type[Schema], body: bytes, settings: Settings) -> Schema:
    """A body as its schema, and nothing lenient; raises MalformedJson or InvalidRequest.

    Pydantic's own parser is strict but for keys that stand twice. Every member of an object costs one colon, so a body with just
    as many colons as the schema found members has none. Whatever fails, or has a colon more, is read again by `strict_json`: its
    verdict is the one that counts.
    """
    try:
        found: Schema = schema.__pydantic_validator__.validate_json(body, context=settings)
    except ValidationError:
        pass
    else:
        if body.count(b":") == len(found.model_fields_set):
            return found
    return validated(schema, strict_json.parse(body), settings)


def validated(schema: type[Schema], document: Any, settings: Settings) -> Schema:
    """A document as its schema, within the limits of the settings; raises InvalidRequest with the fields at fault."""
    try:
        return schema.model_validate(document, context=settings)
    except ValidationError as error:
        raise problems.invalid_request(error) from None


def encoded(document: Any) -> bytes:
    """An answer's bytes; float32 in its shortest form, integers of any size: an unknown id, a number among an item's metadata."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        return orjson.dumps(_with_long_integers(document), option=orjson.OPT_SERIALIZE_NUMPY)


def _with_long_integers(value: Any) -> Any:
    """The same, the integers that orjson doesn't take written out."""
    if isinstance(value, dict):
        return {name: _with_long_integers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_long_integers(each) for each in value]
    if type(value) is int and value.bit_length() >= ORJSON_BITS:
        return orjson.Fragment(str(value).encode())
    return value
