"""The headers that a client may send with a request, and the time that one of them gives it."""

from recoserve.errors import InvalidRequest

TIMEOUT_HEADER = b"x-request-timeout-ms"
MAX_TIMEOUT_DIGITS = 9

# For the OpenAPI schema.
HEADERS = [
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "This request's deadline; not beyond the service's own.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**MAX_TIMEOUT_DIGITS - 1},
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "description": "Taken if it matches, otherwise made; returned and logged.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
]


def timeout_ms(header: bytes, max_ms: int) -> int:
    """The milliseconds that a client gives its request, or the service's own limit if that is less.

    Raises InvalidRequest where the header is not a whole number of milliseconds.
    """
    if not (header.isdigit() and len(header) <= MAX_TIMEOUT_DIGITS):
        raise InvalidRequest("the header X-Request-Timeout-Ms must be a whole number of milliseconds")
    return min(int(header), max_ms)
