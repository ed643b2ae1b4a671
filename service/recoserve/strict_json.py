"""A strict JSON parser: it refuses what Python's own lets through, such as NaN and keys that an object has twice."""

import json
from typing import Any, NoReturn

from recoserve.errors import MalformedJson


def parse(body: bytes) -> Any:
    """The value of one JSON document in UTF-8.

    Raises MalformedJson for anything that isn't JSON by RFC 8259; for a byte order mark, another encoding, NaN and infinities,
    duplicate keys and lone surrogates; and for integers and nesting beyond the interpreter's limits. The message never repeats the
    input.
    """
    try:
        text = body.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u" in text:
            _refuse_lone_surrogates(document)  # needs a stack as well, perhaps a deeper one than `loads`
    except UnicodeDecodeError:
        raise MalformedJson("the body is not UTF-8") from None
    except RecursionError:
        raise MalformedJson("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"not valid JSON at line {error.lineno}, column {error.colno}") from None
    except ValueError:  # of `int`, which converts no more than sys.get_int_max_str_digits()
        raise MalformedJson("a number has too many digits") from None
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("an object has the same key twice")
    return members


def _constant(_name: str) -> NoReturn:
    raise MalformedJson("NaN and infinities are not JSON")


def _refuse_lone_surrogates(document: Any) -> None:
    """Raise MalformedJson if a string holds half of a surrogate pair: only a \\u escape can write one, since UTF-8 has none."""
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("a string holds half of a surrogate pair") from None
