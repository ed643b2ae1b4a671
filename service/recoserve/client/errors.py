"""Everything that a call can end with but its answer.

ClientError
├── ServiceProblem           the service answered with a problem document; a type that has no class here is this one itself
│   ├── MalformedJson, InvalidRequest, IdOutOfRange, UnknownId, UnknownModel
│   ├── NotFound, MethodNotAllowed, BodyTooLarge, UnsupportedMediaType
│   ├── Unauthorized, Forbidden
│   ├── Overloaded, NotReady         503; tried again
│   ├── DeadlineExceeded             504; a TimeoutError too
│   ├── BundleInvalid, ReloadInProgress
│   └── Internal                     500; a defect in the service
├── UnexpectedAnswer         neither the endpoint's answer nor a problem document: another server or a proxy answered
├── ConnectionFailed         no connection, or it was cut before the answer was whole; tried again; a ConnectionError too
└── TimedOut                 the call's time was spent without an answer; a TimeoutError too
"""

from recoserve.errors import RecoserveError
from recoserve.web.schemas import Problem, ProblemError


class ClientError(RecoserveError):
    """Base of the tree; `request_id` is the one in the service's log, None where neither side named any."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class ServiceProblem(ClientError):
    """A problem document (RFC 9457): `type`, `status`, `title`, `detail`; `errors` holds the fields at fault.

    `retry_after` is the service's `Retry-After` in seconds, None where it sent none.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(_told(problem), problem.request_id or None)
        self._problem = problem
        self.type = problem.type
        self.status = problem.status
        self.title = problem.title
        self.detail = problem.detail
        self.errors: tuple[ProblemError, ...] = tuple(problem.errors or ())
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type["ServiceProblem"], tuple[Problem, float | None]]:
        """What is raised in a worker process reaches the one that waits for it."""
        return type(self), (self._problem, self.retry_after)


def _told(problem: Problem) -> str:
    fields = "".join(f"; {_named(found, problem.detail)}" for found in problem.errors or ())
    request = f" (request {problem.request_id})" if problem.request_id else ""
    return f"{problem.status} {problem.title}: {problem.detail}{fields}{request}"


def _named(found: ProblemError, told: str) -> str:
    """A single field's detail often is the document's own."""
    return found.pointer if found.detail in told else f"{found.pointer}: {found.detail}"


class MalformedJson(ServiceProblem):
    pass


class InvalidRequest(ServiceProblem):
    pass


class IdOutOfRange(ServiceProblem):
    pass


class UnknownId(ServiceProblem):
    pass


class UnknownModel(ServiceProblem):
    pass


class NotFound(ServiceProblem):
    pass


class MethodNotAllowed(ServiceProblem):
    pass


class BodyTooLarge(ServiceProblem):
    pass


class UnsupportedMediaType(ServiceProblem):
    pass


class Unauthorized(ServiceProblem):
    pass


class Forbidden(ServiceProblem):
    pass


class Overloaded(ServiceProblem):
    pass


class NotReady(ServiceProblem):
    pass


class DeadlineExceeded(ServiceProblem, TimeoutError):
    pass


class BundleInvalid(ServiceProblem):
    pass


class ReloadInProgress(ServiceProblem):
    pass


class Internal(ServiceProblem):
    pass


class UnexpectedAnswer(ClientError):
    """`status` and the first characters of what was answered, as `excerpt`."""

    def __init__(self, status: int, excerpt: str, request_id: str | None = None) -> None:
        super().__init__(f"status {status}, but no answer of this service: {excerpt!r}; is the address right?", request_id)
        self.status = status
        self.excerpt = excerpt

    def __reduce__(self) -> tuple[type["UnexpectedAnswer"], tuple[int, str, str | None]]:
        return type(self), (self.status, self.excerpt, self.request_id)


class ConnectionFailed(ClientError, ConnectionError):
    pass


class TimedOut(ClientError, TimeoutError):
    pass


CLASSES: dict[str, type[ServiceProblem]] = {
    "/problems/malformed-json": MalformedJson,
    "/problems/invalid-request": InvalidRequest,
    "/problems/id-out-of-range": IdOutOfRange,
    "/problems/unknown-id": UnknownId,
    "/problems/unknown-model": UnknownModel,
    "/problems/not-found": NotFound,
    "/problems/method-not-allowed": MethodNotAllowed,
    "/problems/body-too-large": BodyTooLarge,
    "/problems/unsupported-media-type": UnsupportedMediaType,
    "/problems/unauthorized": Unauthorized,
    "/problems/forbidden": Forbidden,
    "/problems/overloaded": Overloaded,
    "/problems/not-ready": NotReady,
    "/problems/deadline-exceeded": DeadlineExceeded,
    "/problems/bundle-invalid": BundleInvalid,
    "/problems/reload-in-progress": ReloadInProgress,
    "/problems/internal": Internal,
}
