"""A FastAPI route that reads JSON strictly: documented by its signature, answered by one plain ASGI function."""

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from service import strict_json
from service.settings import Settings
from service.web import limits, problems
from service.web.context import Context

Schema = TypeVar("Schema", bound=BaseModel)


class JsonRoute(APIRoute):
    """For endpoints of the form `async def endpoint(request: Request, body: Schema) -> bytes`, the answer's JSON.

    FastAPI's own handler would echo input in its 422, take `"1"` for 1 in places, and fail on what JSON can't hold.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._schema: type[BaseModel] = signature(endpoint, eval_str=True).parameters["body"].annotation

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's way in."""
        if scope["method"] in (self.methods or ()):
            await self.answer(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # the 405

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole route as an ASGI application; what it raises becomes a problem in `context`."""
        context: Context = scope["recoserve"]
        settings: Settings = scope["app"].state.settings
        limits.require_json(context.headers)
        sent = await limits.read_body(context.headers, receive, settings.max_body_bytes)
        body = understood(self._schema, sent, settings)
        answer: bytes = await self.endpoint(Request(scope, receive), body)
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def understood(schema: type[Schema], body: bytes, settings: Settings) -> Schema:
    """A body as its schema, and nothing lenient; raises MalformedJson or InvalidRequest.

    Pydantic's own parser is strict but for keys that stand twice. Every member of an object costs one colon, so a body with just
    as many colons as the schema found members has none. Whatever fails, or has a colon more, is read again by `strict_json`: its
    verdict is the one that counts.
    """
    try:
        found = schema.model_validate_json(body, context=_limits(settings))
    except ValidationError:
        pass
    else:
        if body.count(b":") == len(found.model_fields_set):
            return found
    return validated(schema, strict_json.parse(body), settings)


def validated(schema: type[Schema], document: Any, settings: Settings) -> Schema:
    """A document as its schema, within the limits of the settings; raises InvalidRequest with the fields at fault."""
    try:
        return schema.model_validate(document, context=_limits(settings))
    except ValidationError as error:
        raise problems.invalid_request(error) from None


def encoded(document: Any) -> bytes:
    """An answer's bytes; float32 in its shortest form."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _limits(settings: Settings) -> dict[str, int]:
    return {"max_k": settings.max_k, "max_list_ids": settings.max_list_ids}
