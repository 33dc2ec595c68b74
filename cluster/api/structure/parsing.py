"""Bytes to JSON data, and the keys that occur twice in one object.

orjson is ten times faster than the standard parser but silently keeps the last of equal keys. So the text is
read with orjson, and only if writing the result again gives a different length (a dropped key, but mostly
just white space) does a second, slower reading look for duplicates.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from cluster.api.errors import BadRequest, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
_SUMMARY_LENGTH = 30


class Pairs(list[tuple[str, Any]]):
    """A JSON object in which a key may occur twice."""


class Duplicates:
    """What the text said twice. False if nothing."""

    __slots__ = ("messages", "tree")

    def __init__(self, tree: Any = None, messages: tuple[str, ...] = ()) -> None:
        self.tree = tree
        """The body with every object as `Pairs`, if some key of the JSON text occurs twice."""
        self.messages = messages
        """From YAML, whose duplicates are named by line."""

    def __bool__(self) -> bool:
        return self.tree is not None or bool(self.messages)


NONE = Duplicates()


def parse(body: bytes, content_type: str = JSON, *, kind: str = "") -> tuple[Any, Duplicates]:
    """The body's value, and the duplicate keys for `decode`. `kind` is what is expected, for the message.
    Raises BadRequest if it can't be read, UnsupportedMediaType for other types than JSON and YAML."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in (JSON, "", "application/merge-patch+json", "application/strategic-merge-patch+json"):
        return _parse_json(body, kind)
    if media_type in (YAML, "application/apply-patch+yaml", "text/yaml", "application/x-yaml"):
        return _parse_yaml(body, kind)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
    )


def _parse_json(body: bytes, kind: str) -> tuple[Any, Duplicates]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        why = f"couldn't get version/kind; json parse error: {_go_error(error, body)}"
        raise _unreadable(why, body, kind) from None
    if len(orjson.dumps(value)) == len(body.rstrip(b"\n")):
        return value, NONE
    return value, _find_duplicates(body)


def _find_duplicates(body: bytes) -> Duplicates:
    found = False

    def hook(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal found
        if len({key for key, _ in pairs}) != len(pairs):
            found = True
        return Pairs(pairs)

    tree = json.loads(body, object_pairs_hook=hook)
    return Duplicates(tree) if found else NONE


def _go_error(error: orjson.JSONDecodeError, body: bytes) -> str:
    if not body.strip():
        return "unexpected end of JSON input"
    text = body.decode(errors="replace")
    position = error.pos
    if position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character '{text[position]}' {_expectation(text, position)}"


def _expectation(text: str, position: int) -> str:
    before = text[:position].rstrip()
    match before[-1:]:
        case "" | "[" | ":":
            return "looking for beginning of value"
        case "{" | ",":
            return "looking for beginning of object key string"
        case '"':
            return "after object key"
        case _:
            return "after top-level value" if before[0] not in "{[" else "after object key:value pair"


def _unreadable(why: str, body: bytes, kind: str) -> BadRequest:
    expected = f" (must be of type {kind})" if kind else ""
    return BadRequest(f"the object provided is unrecognized{expected}: {why} ({_summary(body)})")


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    more = " ..." if len(body) > _SUMMARY_LENGTH else ""
    head = body[:_SUMMARY_LENGTH]
    return (head.decode(errors="replace") if body[:1] == b"{" else head.hex()) + more


def _parse_yaml(body: bytes, kind: str) -> tuple[Any, Duplicates]:
    if body.lstrip()[:1] == b"{":
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # flow style, not JSON
        else:
            return value, _find_duplicates(body)
    from cluster.api.structure.yaml_text import Unreadable, load  # 12 ms that most processes never need

    try:
        value, repeated = load(body)
    except Unreadable as error:
        raise _unreadable(f"error converting YAML to JSON: yaml: {error}", body, kind) from None
    if not repeated:
        return value, NONE
    lines = "".join(f"\n  {message}" for message in repeated)
    return value, Duplicates(messages=(f"yaml: unmarshal errors:{lines}",))
