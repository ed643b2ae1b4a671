"""Turns an HTTP response into the object that the endpoint returns, or raises the error that it reports. No I/O."""

import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from recoserve.client.errors import PROBLEM_CLASSES, ServiceProblem, UnexpectedResponse
from recoserve.web.schemas import Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"
EXCERPT_LENGTH = 200

ResponseModel = TypeVar("ResponseModel", bound=BaseModel)


class HttpResponse(NamedTuple):
    """Status, headers and complete body of a response."""

    status: int
    headers: httpx.Headers
    body: bytes


def parse_response(response: HttpResponse, model: type[ResponseModel]) -> ResponseModel:
    """The body of a response as the endpoint's model.

    Fields that the model doesn't have are ignored, so that a newer service can add some. Raises the ServiceProblem that the
    response holds, or UnexpectedResponse for a body of any other kind.
    """
    require_success(response)
    try:
        return model.model_validate_json(response.body)
    except ValidationError:
        raise _unexpected(response) from None


def require_success(response: HttpResponse) -> None:
    """Raise the ServiceProblem that the response holds, or UnexpectedResponse, unless the status is 200."""
    if response.status == HTTPStatus.OK:
        return
    # A proxy's error page may have status 503 too, but must not be retried as Overloaded or NotReady: only the service knows those.
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() != PROBLEM_MEDIA_TYPE:
        raise _unexpected(response)
    problem = _problem(response)
    # A newer service may have types of problems that this client has no class for.
    raise PROBLEM_CLASSES.get(problem.type, ServiceProblem)(problem, retry_after(response.headers))


def _problem(response: HttpResponse) -> Problem:
    # RFC 9457 lets every member be left out, and gateways that write problem documents of their own do so.
    absent = {"type": "about:blank", "title": "", "detail": "", "instance": "", "request_id": _request_id(response) or ""}
    try:
        return Problem.model_validate({**absent, **orjson.loads(response.body), "status": response.status})
    except (ValueError, TypeError):  # no JSON, no object, or members of other types; pydantic's error is a ValueError
        raise _unexpected(response) from None


def _unexpected(response: HttpResponse) -> UnexpectedResponse:
    excerpt = response.body[:EXCERPT_LENGTH].decode("utf-8", "replace")
    return UnexpectedResponse(response.status, excerpt, _request_id(response))


def _request_id(response: HttpResponse) -> str | None:
    request_id: str | None = response.headers.get("x-request-id")
    return request_id


def retry_after(headers: httpx.Headers) -> float | None:
    """The seconds from now that `Retry-After` asks to wait, by a number or an HTTP date; None where it is absent or neither."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():  # `isdigit` by itself is also true for "²", which `float` refuses
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
