"""Pydantic's errors as the service's own, without anything that the client sent."""

from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from recoserve.errors import FieldError, InvalidRequest

MAX_NAME_LENGTH = 64  # of a filter's column in an error
MESSAGES = {  # in place of Pydantic's
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "missing": "is required",
    "too_short": "must not be empty",
}


def invalid_request(error: ValidationError) -> InvalidRequest:
    """The error with each field at fault; unknown fields are not named, since their names are the client's words."""
    details = error.errors(include_url=False, include_input=False)
    return InvalidRequest("the request is not what this endpoint takes", map(_field_error, details))


def _field_error(detail: Any) -> FieldError:
    path = tuple(takewhile(_is_legible, detail["loc"]))
    if detail["type"] == "of_field":
        return FieldError((*path, detail["ctx"]["field"]), detail["msg"])
    if detail["type"] == "extra_forbidden":
        return FieldError(path[:-1], "a field is not known here; see /docs for those that are")
    return FieldError(path, MESSAGES.get(detail["type"], detail["msg"]))


def _is_legible(step: str | int) -> bool:
    """Whether a step of a path may stand in an error: the client names a filter's columns, and the error must stay small."""
    return isinstance(step, int) or (len(step) <= MAX_NAME_LENGTH and step.isprintable())
