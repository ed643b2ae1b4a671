"""Every error that a call of the client can end with.

ClientError
├── ServiceProblem           the service sent a problem document; if its type has no class here, it is a ServiceProblem itself
│   ├── MalformedJson, InvalidRequest, IdOutOfRange, UnknownId, UnknownModel
│   ├── NotFound, MethodNotAllowed, BodyTooLarge, UnsupportedMediaType
│   ├── Unauthorized, Forbidden
│   ├── Overloaded, NotReady         503; retried
│   ├── DeadlineExceeded             504; a TimeoutError too
│   ├── BundleInvalid, ReloadInProgress
│   └── Internal                     500; a defect in the service
├── UnexpectedResponse       neither the endpoint's response nor a problem document: another server or a proxy sent it
├── ConnectionFailed         no connection, or it was cut before the response was complete; retried; a ConnectionError too
└── TimedOut                 the call's time passed without a complete response; a TimeoutError too
"""

from recoserve.errors import RecoserveError
from recoserve.web.schemas import Problem, ProblemError


class ClientError(RecoserveError):
    """Base of all errors of the client.

    Attributes
    ----------
    request_id : str or None
        The request's id in the service's log; None where neither the caller nor the service named any.
    """

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class ServiceProblem(ClientError):
    """A problem document of the service (RFC 9457).

    Attributes
    ----------
    type : str
        For instance ``/problems/unknown-id``.
    status : int
        The HTTP status.
    title, detail : str
        What happened, in general and in this request.
    errors : tuple of ProblemError
        The fields at fault, each with ``pointer`` (a JSON Pointer) and ``detail``.
    retry_after : float or None
        Seconds that the service asks to wait before another attempt; None where it sent no ``Retry-After``.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(_message(problem), problem.request_id or None)
        self._problem = problem
        self.type = problem.type
        self.status = problem.status
        self.title = problem.title
        self.detail = problem.detail
        self.errors: tuple[ProblemError, ...] = tuple(problem.errors or ())
        self.retry_after = retry_after

    # By default an exception is pickled with `args`, here the message alone, and could not be built again from it: an error raised
    # in a worker process would break the pool that waits for its result.
    def __reduce__(self) -> tuple[type["ServiceProblem"], tuple[Problem, float | None]]:
        return type(self), (self._problem, self.retry_after)


def _message(problem: Problem) -> str:
    fields = "".join(f"; {_field(field, problem.detail)}" for field in problem.errors or ())
    request = f" (request {problem.request_id})" if problem.request_id else ""
    return f"{problem.status} {problem.title}: {problem.detail}{fields}{request}"


def _field(field: ProblemError, detail: str) -> str:
    """A field and what is wrong with it, unless the document's `detail` says that already, as it does for a single field."""
    return field.pointer if field.detail in detail else f"{field.pointer}: {field.detail}"


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


class UnexpectedResponse(ClientError):
    """A response that no recoserve service sends.

    Attributes
    ----------
    status : int
        The HTTP status.
    excerpt : str
        The beginning of the body.
    """

    def __init__(self, status: int, excerpt: str, request_id: str | None = None) -> None:
        super().__init__(
            f"status {status}, but the response is not one of recoserve: {excerpt!r}; is the address right?", request_id
        )
        self.status = status
        self.excerpt = excerpt

    def __reduce__(self) -> tuple[type["UnexpectedResponse"], tuple[int, str, str | None]]:
        return type(self), (self.status, self.excerpt, self.request_id)


class ConnectionFailed(ClientError, ConnectionError):
    pass


class TimedOut(ClientError, TimeoutError):
    pass


# A test compares these types with those of the service.
PROBLEM_CLASSES: dict[str, type[ServiceProblem]] = {
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
