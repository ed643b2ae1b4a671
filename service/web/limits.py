"""What a request may cost before anything of it is understood: its type, its size, its time."""

from starlette.requests import Request

from service.errors import InvalidRequest
from service.web.problems import BodyTooLarge, UnsupportedMediaType

LONGEST_TIMEOUT_DIGITS = 9

# The same, for the OpenAPI schema.
HEADERS = [
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "This request's deadline; not beyond the service's own.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**LONGEST_TIMEOUT_DIGITS - 1},
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "description": "Taken if it matches, otherwise made; returned and logged.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
]


def require_json(request: Request) -> None:
    """Raises UnsupportedMediaType unless the body is declared as plain JSON in UTF-8."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body with Content-Type: application/json")
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    if charset.startswith("charset=") and charset != "charset=utf-8":
        raise UnsupportedMediaType("JSON is UTF-8; send it so, and leave the charset out")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; raises BodyTooLarge at the declared length, or as soon as what has come exceeds `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(f"the body may hold at most {limit} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(f"the body may hold at most {limit} bytes")
    return bytes(body)


def deadline(request: Request, started: float, default_ms: int) -> float:
    """When the request's time is up, on the clock of `time.monotonic`: its own wish, or the service's limit if that is sooner.

    Raises InvalidRequest for an `X-Request-Timeout-Ms` that is not a whole number of milliseconds.
    """
    wish = request.headers.get("x-request-timeout-ms")
    if wish is None:
        return started + default_ms / 1e3
    if not (wish.isascii() and wish.isdigit() and len(wish) <= LONGEST_TIMEOUT_DIGITS):
        raise InvalidRequest("the header X-Request-Timeout-Ms must be a whole number of milliseconds")
    return started + min(int(wish), default_ms) / 1e3
