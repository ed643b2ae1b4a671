"""A request's body: its type, its size, its JSON, its schema."""

from collections.abc import Mapping
from typing import TypeVar

import jiter
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from recoserve import strict_json
from recoserve.errors import MalformedJson
from recoserve.recommend.requests import Request
from recoserve.settings import Settings
from recoserve.web.problems import BodyTooLarge, UnsupportedMediaType

Schema = TypeVar("Schema", bound=Request)
Headers = Mapping[bytes, bytes]  # names in lower case


async def read_request(schema: type[Schema], headers: Headers, receive: Receive, settings: Settings) -> Schema:
    """The request that a body holds.

    Raises UnsupportedMediaType, BodyTooLarge, MalformedJson, InvalidRequest; and ClientDisconnect, if the client leaves before the
    body is whole.
    """
    require_json(headers)
    return parse_request(schema, await read_body(headers, receive, settings.max_body_bytes), settings)


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


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge at the declared length, or once more than `max_bytes` have come; ClientDisconnect."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > max_bytes:
        raise BodyTooLarge(f"the body may hold at most {max_bytes} bytes")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise BodyTooLarge(f"the body may hold at most {max_bytes} bytes")
        if not message.get("more_body"):
            return bytes(body)


def parse_request(schema: type[Schema], body: bytes, settings: Settings) -> Schema:
    """A JSON body as its schema, within the limits of the settings. Raises MalformedJson or InvalidRequest.

    jiter parses what RFC 8259 allows and nothing more, duplicate keys included. Where it refuses a body, `strict_json` reads that
    body again and words the reason, which never repeats the input.
    """
    try:
        document = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        strict_json.parse(body)
        raise MalformedJson("the JSON is nested too deeply") from None  # jiter's stack is shorter than strict_json's
    return schema.from_document(document, settings)
