"""String and bytes literals: quotes, raw forms, escapes."""

from __future__ import annotations

import re
from typing import Any

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))"
)
_PLAIN = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip


def literal_of(text: str) -> Any:
    """str, or bytes with the prefix b."""
    start = re.match(r"[rRbB]*", text)
    prefix = (start.group() if start else "").lower()
    body = text[len(prefix) :]
    width = 3 if body[:3] in ('"""', "'''") else 1
    body = body[width:-width]
    if "b" in prefix:
        return body.encode() if "r" in prefix else _bytes(body)
    return body if "r" in prefix else _ESCAPE.sub(_character, body)


def _character(match: re.Match[str]) -> str:
    plain, x, u, long, octal = match.groups()
    if plain:
        return _PLAIN.get(plain, plain)
    return chr(int(octal, 8) if octal else int(x or u or long, 16))


def _bytes(body: str) -> bytes:
    """\\x and octal escapes are bytes here, not code points."""
    out, at = b"", 0
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode()
        _, x, _, _, octal = match.groups()
        out += bytes([int(x, 16) if x else int(octal, 8)]) if x or octal else _character(match).encode()
        at = match.end()
    return out + body[at:].encode()
