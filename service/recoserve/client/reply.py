"""What came back, read: an answer, or the error that it stands for."""

import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from recoserve.client.errors import CLASSES, ServiceProblem, UnexpectedAnswer
from recoserve.web.schemas import Problem

MEDIA_TYPE = "application/problem+json"
EXCERPT = 200

Schema = TypeVar("Schema", bound=BaseModel)


class Reply(NamedTuple):
    """A whole HTTP response."""

    status: int
    headers: httpx.Headers
    body: bytes


def understood(reply: Reply, schema: type[Schema]) -> Schema:
    """The endpoint's answer; fields that it doesn't know, of a newer service, are left aside.

    Raises the ServiceProblem that the reply holds, or UnexpectedAnswer.
    """
    require_success(reply)
    try:
        return schema.model_validate_json(reply.body)
    except ValidationError:
        raise unexpected(reply) from None


def require_success(reply: Reply) -> None:
    """Raises the ServiceProblem that the reply holds, or UnexpectedAnswer, unless its status is 200."""
    if reply.status == HTTPStatus.OK:
        return
    if reply.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise unexpected(reply)
    problem = _problem(reply)
    raise CLASSES.get(problem.type, ServiceProblem)(problem, retry_after(reply.headers))


def _problem(reply: Reply) -> Problem:
    """RFC 9457 lets every member be left out, and gateways do."""
    absent = {"type": "about:blank", "title": "", "detail": "", "instance": "", "request_id": _request_id(reply) or ""}
    try:
        return Problem.model_validate({**absent, **orjson.loads(reply.body), "status": reply.status})
    except (ValueError, TypeError):  # no JSON, no object, or members of other types; pydantic's error is a ValueError
        raise unexpected(reply) from None


def unexpected(reply: Reply) -> UnexpectedAnswer:
    """For a reply that is not this service's."""
    return UnexpectedAnswer(reply.status, reply.body[:EXCERPT].decode("utf-8", "replace"), _request_id(reply))


def _request_id(reply: Reply) -> str | None:
    found: str | None = reply.headers.get("x-request-id")
    return found


def retry_after(headers: httpx.Headers) -> float | None:
    """`Retry-After` in seconds from now, given as seconds or as an HTTP date; None where it is neither."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
