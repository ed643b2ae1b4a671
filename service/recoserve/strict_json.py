"""JSON as RFC 8259 has it, and nothing more: what lenient parsers let through is refused here."""

import json
from typing import Any, NoReturn

from recoserve.errors import MalformedJson


def parse(body: bytes) -> Any:
    """Parse one UTF-8 JSON document.

    Raises MalformedJson for: another encoding or a byte order mark, NaN and infinities, duplicate keys,
    lone surrogates, integers beyond the interpreter's digit limit, nesting beyond its stack, trailing junk.
    The message never repeats the input.
    """
    try:
        text = body.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError:
        raise MalformedJson("the body is not UTF-8") from None
    except RecursionError:
        raise MalformedJson("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"not valid JSON at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise MalformedJson("a number has too many digits") from None
    if "\\u" in text:
        _refuse_lone_surrogates(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("an object has the same key twice")
    return members


def _constant(_name: str) -> NoReturn:
    raise MalformedJson("NaN and infinities are not JSON")


def _refuse_lone_surrogates(document: Any) -> None:
    """Only an escape can bring one in: raw bytes with a surrogate are not UTF-8 to begin with."""
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("a string holds half of a surrogate pair") from None
