"""Everything that can go wrong, in the words of the domain. Nothing here knows HTTP or a command line.

RecoserveError
├── AnswerError            a request can't be answered; `web.problems` maps each class to a problem document
│   ├── MalformedJson      the bytes are not one JSON document
│   ├── InvalidRequest     well-formed, but not what the endpoint takes
│   ├── IdOutOfRange       a row-number id outside the table
│   ├── UnknownId          an external id that the bundle doesn't know
│   ├── UnknownModel       a model that the service doesn't hold
│   ├── Overloaded         no room left in the queue
│   ├── NotReady           no model is loaded yet, or the service is draining
│   └── DeadlineExceeded   the request's time was spent before its turn came
└── OperatorError          whoever runs a command or the service has to change something
    ├── BundleInvalid      a bundle is not what its manifest says; `problems` lists all that is wrong
    ├── SettingsInvalid    a setting is unknown or out of bounds
    ├── ProviderUnavailable  the execution provider asked for is not on this machine
    └── ExportRefused      a model and what comes with it can't become a bundle
        └── FileInvalid    a file of ids, items, ratings or interactions can't be used; the message names the line
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

MOST_FIELDS = 20  # a batch with ten thousand bad ids still has a small answer


class RecoserveError(Exception):
    """Base of the tree; `str(error)` is one sentence for a person."""


@dataclass(frozen=True)
class FieldError:
    """One field at fault: its path from the top of the request, and what is wrong with it."""

    path: tuple[str | int, ...]
    detail: str


class AnswerError(RecoserveError):
    """A request that can't be answered; `fields` names those at fault, if any are, at most `MOST_FIELDS` of them."""

    def __init__(self, detail: str, fields: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.fields = tuple(islice(fields, MOST_FIELDS))


class MalformedJson(AnswerError):
    pass


class InvalidRequest(AnswerError):
    pass


class IdOutOfRange(AnswerError):
    pass


class UnknownId(AnswerError):
    pass


class UnknownModel(AnswerError):
    pass


class Overloaded(AnswerError):
    pass


class NotReady(AnswerError):
    pass


class DeadlineExceeded(AnswerError):
    pass


class OperatorError(RecoserveError):
    """Something that the person at the command line can mend; the message says how."""


class BundleInvalid(OperatorError):
    """A bundle failed its checks; `problems` holds one sentence per finding."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def within(self, folder: object) -> "BundleInvalid":
        """The same findings, each with the bundle's folder before it, for whoever looks at several."""
        return BundleInvalid([f"{folder}: {problem}" for problem in self.problems])


class SettingsInvalid(OperatorError):
    pass


class ProviderUnavailable(OperatorError):
    pass


class ExportRefused(OperatorError):
    pass


class FileInvalid(ExportRefused):
    pass
