"""Everything that can go wrong, in the terms of recommending. Nothing here knows HTTP or the command line.

RecoserveError
├── RequestError             a request can't be answered; `web.problems` maps each class to a problem document
│   ├── MalformedJson        the bytes are not one JSON document
│   ├── InvalidRequest       well-formed, but not what the endpoint accepts
│   ├── IdOutOfRange         an id that is a row number, and outside the table
│   ├── UnknownId            an external id that the bundle doesn't hold
│   ├── UnknownModel         a model that the service doesn't hold
│   ├── Overloaded           the queue is full
│   ├── NotReady             no model is loaded yet, or the service is shutting down
│   └── DeadlineExceeded     the request's time ran out before its response was computed
└── OperatorError            whoever runs the command or the service has to change something
    ├── BundleInvalid        a bundle fails its checks; `problems` says in which points
    ├── SettingsInvalid      a setting is unknown or out of bounds
    ├── ProviderUnavailable  the chosen execution provider can't be used on this machine
    └── ExportRefused        no bundle can be made of this model and the files that come with it, or written to this folder
        └── FileInvalid      a file of ids, items, ratings or interactions can't be used; the message says where

`web.problems` adds two request errors that only HTTP has: a body that is too large, and one of another media type.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

MAX_FIELD_ERRORS = 20  # a batch with ten thousand bad ids still gets a small response


class RecoserveError(Exception):
    """The base of all errors; `str(error)` is one sentence for a person."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request; `path` leads to the field from the top of the JSON document."""

    path: tuple[str | int, ...]
    detail: str


class RequestError(RecoserveError):
    """A request that can't be answered; `fields` holds the errors of single fields, `MAX_FIELD_ERRORS` at most."""

    def __init__(self, detail: str, fields: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.fields = tuple(islice(fields, MAX_FIELD_ERRORS))


class MalformedJson(RequestError):
    """The bytes are not one JSON document."""


class InvalidRequest(RequestError):
    """The JSON is well-formed, but not what the endpoint accepts."""


class IdOutOfRange(RequestError):
    """An id that is a row number lies outside the table."""


class UnknownId(RequestError):
    """The bundle holds no such external id."""


class UnknownModel(RequestError):
    """The service holds no model of this name or version."""


class Overloaded(RequestError):
    """The queue is full."""


class NotReady(RequestError):
    """No model is loaded yet, or the service is shutting down."""


class DeadlineExceeded(RequestError):
    """The request's time ran out before its response was computed."""


class OperatorError(RecoserveError):
    """Something that the person at the command line can mend; the message says how."""


class BundleInvalid(OperatorError):
    """A bundle fails its checks; `problems` holds a sentence for each problem that was found."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def within(self, location: object) -> "BundleInvalid":
        """This error with the location in front of each problem, for callers that check several bundles."""
        return BundleInvalid([f"{location}: {problem}" for problem in self.problems])


class SettingsInvalid(OperatorError):
    """A setting is unknown or out of bounds."""


class ProviderUnavailable(OperatorError):
    """The chosen execution provider can't be used on this machine."""


class ExportRefused(OperatorError):
    """No bundle can be made of this model and the files that come with it, or written to this folder."""


class FileInvalid(ExportRefused):
    """A file of ids, items, ratings or interactions can't be used; the message names the file, and the line if one is wrong."""
