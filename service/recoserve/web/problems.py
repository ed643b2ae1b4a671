"""Every error as one problem document (RFC 9457). The only table from errors to status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recoserve import errors
from recoserve.errors import FieldError, RequestError
from recoserve.web.schemas import Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "1"}


class BodyTooLarge(RequestError):
    """The body is larger than the limit."""


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON in UTF-8."""


class ProblemType(NamedTuple):
    """How one kind of error is told over HTTP."""

    type: str
    status: int
    title: str
    headers: Mapping[str, str] = {}


INTERNAL = ProblemType("/problems/internal", 500, "Internal error")
NOT_FOUND = ProblemType("/problems/not-found", 404, "Not found")
METHOD_NOT_ALLOWED = ProblemType("/problems/method-not-allowed", 405, "Method not allowed")

TYPES: dict[type[RequestError], ProblemType] = {
    errors.MalformedJson: ProblemType("/problems/malformed-json", 400, "Malformed JSON"),
    errors.InvalidRequest: ProblemType("/problems/invalid-request", 422, "Invalid request"),
    errors.IdOutOfRange: ProblemType("/problems/id-out-of-range", 422, "Id out of range"),
    errors.UnknownId: ProblemType("/problems/unknown-id", 422, "Unknown id"),
    errors.UnknownModel: ProblemType("/problems/unknown-model", 404, "Unknown model"),
    BodyTooLarge: ProblemType("/problems/body-too-large", 413, "Body too large", {"Connection": "close"}),
    UnsupportedMediaType: ProblemType("/problems/unsupported-media-type", 415, "Unsupported media type", {"Connection": "close"}),
    errors.Overloaded: ProblemType("/problems/overloaded", 503, "Overloaded", RETRY_AFTER),
    errors.NotReady: ProblemType("/problems/not-ready", 503, "Not ready", RETRY_AFTER),
    errors.DeadlineExceeded: ProblemType("/problems/deadline-exceeded", 504, "Deadline exceeded"),
}
BY_STATUS = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


def problem(
    problem_type: ProblemType, detail: str, request_id: str, fields: Sequence[FieldError] = (), headers: Mapping[str, str] = {}
) -> Response:
    """The document as a response."""
    document: dict[str, Any] = {
        "type": problem_type.type,
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail,
        "instance": f"/requests/{request_id}",
        "request_id": request_id,
    }
    if fields:
        document["errors"] = [{"pointer": pointer(field.path), "detail": field.detail} for field in fields]
    return Response(orjson.dumps(document), problem_type.status, {**problem_type.headers, **headers}, media_type=MEDIA_TYPE)


def pointer(path: Sequence[str | int]) -> str:
    """A path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def answer(error: RequestError, request_id: str) -> Response:
    """The document for an error of the domain."""
    return problem(TYPES[type(error)], str(error), request_id, error.fields)


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
    problem_type = BY_STATUS.get(error.status_code, ProblemType("about:blank", error.status_code, title))
    detail = {404: "no such path; see /docs", 405: "this path does not take that method"}.get(error.status_code, title)
    return problem(problem_type, detail, request_id(request.scope), headers=error.headers or {})


def request_id(scope: Mapping[str, Any]) -> str:
    """The id that `web.context` gave this request."""
    context_id: str = scope["recoserve"].request_id
    return context_id


def responses(*error_types: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """The problems that a route can answer with, 500 included, for its OpenAPI entry."""
    by_status: dict[int, list[str]] = {}
    for problem_type in [*(TYPES[error_type] for error_type in error_types), INTERNAL]:
        by_status.setdefault(problem_type.status, []).append(problem_type.type)
    schema = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": ", ".join(types), "content": schema} for status, types in by_status.items()}


PROBLEM_SCHEMA = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
