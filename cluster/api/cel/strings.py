"""Text: CEL's own functions, cel-go's string extensions, regular expressions, Kubernetes' named formats."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from cluster.api.cel.errors import EvalError
from cluster.api.cel.times import shown_duration, shown_timestamp
from cluster.api.cel.values import NONE, Optional
from cluster.api.custom.formats import format_fits
from cluster.api.validation import formats

_ASCII_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ASCII_LOWER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


@lru_cache(maxsize=1024)
def pattern_of(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.replace(r"\z", r"\Z"))
    except re.error as error:
        raise EvalError(f"error parsing regexp: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EvalError("no such overload")
    return value


def _char_at(text: Any, index: Any) -> str:
    if not 0 <= index <= len(_text(text)):
        raise EvalError(f"index out of range: {index}")
    return _text(text)[index : index + 1]


def _substring(text: Any, start: Any, end: Any = None) -> str:
    stop = len(_text(text)) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise EvalError(f"index out of range: {start if not 0 <= start <= len(text) else stop}")
    return _text(text)[start:stop]


def _split(text: Any, separator: Any, limit: Any = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        letters = list(_text(text))
        return letters if limit < 0 or limit >= len(letters) else [*letters[: limit - 1], text[limit - 1 :]]
    return _text(text).split(separator, limit - 1 if limit > 0 else -1)


def _find_all(text: Any, pattern: Any, limit: Any = -1) -> list[str]:
    found = [match.group() for match in pattern_of(pattern).finditer(_text(text))]
    return found if limit < 0 else found[:limit]


def _find(text: Any, pattern: Any) -> str:
    found = pattern_of(pattern).search(_text(text))
    return found.group() if found else ""


def _format(text: Any, arguments: Any) -> str:
    values = iter(arguments)

    def put(match: re.Match[str]) -> str:
        if match.group() == "%%":
            return "%"
        try:
            value = next(values)
        except StopIteration:
            raise EvalError("index out of range") from None
        return _clause(match["verb"], match["precision"], value)

    return re.sub(r"%%|%(?:\.(?P<precision>\d+))?(?P<verb>[a-zA-Z])", put, _text(text))


def _clause(verb: str, precision: str | None, value: Any) -> str:
    match verb:
        case "s":
            return _shown(value)
        case "d":
            return str(int(value))
        case "f":
            return f"{float(value):.{precision or 6}f}"
        case "e":
            return f"{float(value):.{precision or 6}e}"
        case "b":
            return format(int(value), "b")
        case "o":
            return format(int(value), "o")
        case "x" | "X":
            if isinstance(value, (str, bytes)):
                made = (value.encode() if isinstance(value, str) else value).hex()
                return made.upper() if verb == "X" else made
            return format(int(value), verb)
    raise EvalError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{_shown(k)}: {_shown(value[k])}" for k in sorted(value)) + "}"
        case timedelta():
            return shown_duration(value)
        case datetime():
            return shown_timestamp(value)
        case float() if value.is_integer():
            return str(int(value))
        case bytes():
            return value.decode(errors="replace")
    return str(value)


def _quote(text: Any) -> str:
    return orjson.dumps(_text(text)).decode()


def _index_of(text: Any, wanted: Any, start: Any = 0) -> int:
    if isinstance(text, list):
        return next((i for i, item in enumerate(text) if item == wanted), -1)
    return _text(text).find(wanted, start)


def _last_index_of(text: Any, wanted: Any, end: Any = None) -> int:
    if isinstance(text, list):
        return next((i for i in range(len(text) - 1, -1, -1) if text[i] == wanted), -1)
    return _text(text).rfind(wanted) if end is None else _text(text).rfind(wanted, 0, end + len(wanted))


def _replace(text: Any, old: Any, new: Any, count: Any = -1) -> str:
    return _text(text).replace(old, new, count)


def _reverse(value: Any) -> Any:
    return value[::-1]


Check = Callable[[str], Sequence[str]]
"""What is wrong with a text."""


class NamedFormat:
    """What format.dns1123Label() and its like give."""

    def __init__(self, check: Check) -> None:
        self.check = check


def _by_name(name: str) -> Check:
    """A format that is only right or wrong."""
    return lambda text: () if format_fits(name, text) else (f"must be a valid {name}",)


_FORMATS: dict[str, Check] = {
    "dns1123Label": formats.dns_label,
    "dns1123Subdomain": formats.dns_subdomain,
    "dns1035Label": formats.dns_1035_label,
    "qualifiedName": formats.qualified_name,
    "labelValue": formats.label_value,
    "uri": _by_name("uri"),
    "uuid": _by_name("uuid"),
    "byte": _by_name("byte"),
    "date": _by_name("date"),
    "datetime": _by_name("datetime"),
}


def _named_format(name: Any) -> Optional:
    check = _FORMATS.get(name)
    return NONE if check is None else Optional(NamedFormat(check), True)


def _validate(form: Any, text: Any) -> Optional:
    problems = form.check(_text(text))
    return Optional(list(problems), True) if problems else NONE


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "startsWith": lambda text, part: _text(text).startswith(part),
    "endsWith": lambda text, part: _text(text).endswith(part),
    "contains": lambda text, part: part in _text(text),
    "matches": lambda text, pattern: pattern_of(_text(pattern)).search(_text(text)) is not None,
    "charAt": _char_at,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "lowerAscii": lambda text: _text(text).translate(_ASCII_UPPER),
    "upperAscii": lambda text: _text(text).translate(_ASCII_LOWER),
    "replace": _replace,
    "split": _split,
    "join": lambda items, separator="": _text(separator).join(items),
    "substring": _substring,
    "trim": lambda text: _text(text).strip(),
    "reverse": _reverse,
    "format": _format,
    "strings.quote": _quote,
    "find": _find,
    "jsonpatch.escapeKey": lambda text: _text(text).replace("~", "~0").replace("/", "~1"),
    "findAll": _find_all,
    "base64.encode": lambda value: b64encode(value).decode(),
    "base64.decode": lambda text: b64decode(_text(text)),
    "format.named": _named_format,
    "validate": _validate,
    **{f"format.{name}": (lambda check=check: NamedFormat(check)) for name, check in _FORMATS.items()},
}
