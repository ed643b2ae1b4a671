"""A FastAPI route that reads JSON strictly: documented by its signature, parsed once, answered with orjson."""

from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from service import strict_json
from service.settings import Settings
from service.web import limits, problems

Schema = TypeVar("Schema", bound=BaseModel)


class JsonRoute(APIRoute):
    """For endpoints of the form `async def endpoint(request: Request, body: Schema) -> dict`.

    FastAPI's own handler would echo input in its 422, take `"1"` for 1 in places, and fail on what JSON can't hold.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint, schema = self.endpoint, _schema(self.endpoint)

        async def handle(request: Request) -> Response:
            settings: Settings = request.app.state.settings
            body = await _parse(request, schema, settings)
            answer = await endpoint(request, body)
            return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

        return handle


async def _parse(request: Request, schema: type[BaseModel], settings: Settings) -> BaseModel:
    limits.require_json(request)
    return validated(schema, strict_json.parse(await limits.read_body(request, settings.max_body_bytes)), settings)


def validated(schema: type[Schema], document: Any, settings: Settings) -> Schema:
    """A document as its schema, within the limits of the settings; raises InvalidRequest with the fields at fault."""
    try:
        return schema.model_validate(document, context={"max_k": settings.max_k, "max_list_ids": settings.max_list_ids})
    except ValidationError as error:
        raise problems.invalid_request(error) from None


def _schema(endpoint: Callable[..., Any]) -> type[BaseModel]:
    found: type[BaseModel] = signature(endpoint, eval_str=True).parameters["body"].annotation
    return found
