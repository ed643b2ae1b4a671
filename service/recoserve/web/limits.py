"""What a request may cost before anything of it is understood: its type, its size, its time."""

from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from recoserve.errors import InvalidRequest
from recoserve.web.problems import BodyTooLarge, UnsupportedMediaType

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

Headers = Mapping[bytes, bytes]  # names in lower case


def require_json(headers: Headers) -> None:
    """Raises UnsupportedMediaType unless the body is declared as plain JSON in UTF-8."""
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json":
        _require_utf_8(content_type)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")


def _require_utf_8(content_type: bytes) -> None:
    media_type, _, parameters = content_type.partition(b";")
    if media_type.strip().lower() != b"application/json":
        raise UnsupportedMediaType("send the body with Content-Type: application/json")
    charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
    if charset.startswith(b"charset=") and charset != b"charset=utf-8":
        raise UnsupportedMediaType("JSON is UTF-8; send it so, and leave the charset out")


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body; raises BodyTooLarge at the declared length, or as soon as what has come exceeds `limit` bytes.

    Raises ClientDisconnect where the sender leaves before it is whole.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(f"the body may hold at most {limit} bytes")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(f"the body may hold at most {limit} bytes")
        if not message.get("more_body"):
            return bytes(body)


def deadline(headers: Headers, started: float, default_ms: int) -> float:
    """When the request's time is up, on the clock of `time.monotonic`: its own wish, or the service's limit if that is sooner.

    Raises InvalidRequest for an `X-Request-Timeout-Ms` that is not a whole number of milliseconds.
    """
    wish = headers.get(b"x-request-timeout-ms")
    if wish is None:
        return started + default_ms / 1e3
    if not (wish.isdigit() and len(wish) <= LONGEST_TIMEOUT_DIGITS):
        raise InvalidRequest("the header X-Request-Timeout-Ms must be a whole number of milliseconds")
    return started + min(int(wish), default_ms) / 1e3
