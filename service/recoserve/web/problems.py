"""Every error as one problem document (RFC 9457). The only table from errors to status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import takewhile
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recoserve import errors
from recoserve.errors import FieldError, RequestError
from recoserve.web.schemas import Problem

MEDIA_TYPE = "application/problem+json"
LONGEST_NAME = 64  # of a column in a pointer
OUR_WORDS = {  # for Pydantic's
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "missing": "is required",
    "too_short": "must not be empty",
}
RETRY_AFTER = {"Retry-After": "1"}


class BodyTooLarge(RequestError):
    """The body is larger than the limit; HTTP's own, so it stands here."""


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON in UTF-8."""


class Kind(NamedTuple):
    """A problem type's row in the table."""

    type: str
    status: int
    title: str
    headers: Mapping[str, str] = {}


INTERNAL = Kind("/problems/internal", 500, "Internal error")
NOT_FOUND = Kind("/problems/not-found", 404, "Not found")
METHOD_NOT_ALLOWED = Kind("/problems/method-not-allowed", 405, "Method not allowed")

KINDS: dict[type[RequestError], Kind] = {
    errors.MalformedJson: Kind("/problems/malformed-json", 400, "Malformed JSON"),
    errors.InvalidRequest: Kind("/problems/invalid-request", 422, "Invalid request"),
    errors.IdOutOfRange: Kind("/problems/id-out-of-range", 422, "Id out of range"),
    errors.UnknownId: Kind("/problems/unknown-id", 422, "Unknown id"),
    errors.UnknownModel: Kind("/problems/unknown-model", 404, "Unknown model"),
    BodyTooLarge: Kind("/problems/body-too-large", 413, "Body too large", {"Connection": "close"}),
    UnsupportedMediaType: Kind("/problems/unsupported-media-type", 415, "Unsupported media type", {"Connection": "close"}),
    errors.Overloaded: Kind("/problems/overloaded", 503, "Overloaded", RETRY_AFTER),
    errors.NotReady: Kind("/problems/not-ready", 503, "Not ready", RETRY_AFTER),
    errors.DeadlineExceeded: Kind("/problems/deadline-exceeded", 504, "Deadline exceeded"),
}
BY_STATUS = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


def problem(
    kind: Kind, detail: str, request_id: str, fields: Sequence[FieldError] = (), headers: Mapping[str, str] = {}
) -> Response:
    """The document as a response."""
    document: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": f"/requests/{request_id}",
        "request_id": request_id,
    }
    if fields:
        document["errors"] = [{"pointer": pointer(field.path), "detail": field.detail} for field in fields]
    return Response(orjson.dumps(document), kind.status, {**kind.headers, **headers}, media_type=MEDIA_TYPE)


def pointer(path: Sequence[str | int]) -> str:
    """A path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def invalid_request(error: ValidationError) -> errors.InvalidRequest:
    """Pydantic's findings as ours; what the client sent is left out, names of unknown fields included."""
    found = error.errors(include_url=False, include_input=False)
    return errors.InvalidRequest("the request is not what this endpoint takes", map(_field, found))


def _field(found: Any) -> FieldError:
    path = tuple(takewhile(_tellable, found["loc"]))
    if found["type"] == "of_field":
        return FieldError((*path, found["ctx"]["field"]), found["msg"])
    if found["type"] == "extra_forbidden":
        return FieldError(path[:-1], "a field is not known here; see /docs for those that are")
    return FieldError(path, OUR_WORDS.get(found["type"], found["msg"]))


def _tellable(part: str | int) -> bool:
    """A filter's columns are named by whoever asks; a pointer follows them as long as the problem stays small and legible."""
    return isinstance(part, int) or (len(part) <= LONGEST_NAME and part.isprintable())


def answer(error: RequestError, request_id: str) -> Response:
    """The document for an error of the domain."""
    return problem(KINDS[type(error)], str(error), request_id, error.fields)


def defect(request_id: str) -> Response:
    """The document for everything else."""
    return problem(INTERNAL, "a defect in the service; its log has the cause under this request id", request_id)


def install(app: FastAPI) -> None:
    """Route every error that reaches FastAPI's own handlers to a problem document."""
    app.add_exception_handler(RequestError, _answer_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _defect)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101  # Starlette's signature is wider than its promise
    return answer(error, request_id(request.scope))


async def _defect(request: Request, _error: Exception) -> Response:
    return defect(request_id(request.scope))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    title = HTTPStatus(error.status_code).phrase
    kind = BY_STATUS.get(error.status_code, Kind("about:blank", error.status_code, title))
    detail = {404: "no such path; see /docs", 405: "this path does not take that method"}.get(error.status_code, title)
    return problem(kind, detail, request_id(request.scope), headers=error.headers or {})


def request_id(scope: Mapping[str, Any]) -> str:
    """The id that `web.context` gave this request."""
    found: str = scope["recoserve"].request_id
    return found


def responses(*kinds: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """For a route's OpenAPI entry: the problems that it can answer with, 500 included."""
    by_status: dict[int, list[str]] = {}
    for kind in [*(KINDS[one] for one in kinds), INTERNAL]:
        by_status.setdefault(kind.status, []).append(kind.type)
    schema = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": ", ".join(types), "content": schema} for status, types in by_status.items()}


PROBLEM_SCHEMA = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
