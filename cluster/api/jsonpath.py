"""The JSONPath of Kubernetes as far as printer columns and `kubectl wait` need it: `.spec.ports[0].name`,
`.status.conditions[?(@.type=="Ready")].status`, `['a.b/c']`, `[*]`, `..name`, slices, unions.

A path is parsed once into a chain of steps; each turns a list of values into a list of values. What is not
there simply yields nothing, as printer columns want it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

Step = Callable[[Any], Iterable[Any]]


class JsonPathError(ValueError):
    """The text is no path that Kubernetes' template language knows."""


_NAME: Final = re.compile(r"(?:[^\s.\[\]{}'\"\\(),]|\\.)+")
_FILTER: Final = re.compile(
    r"\s*@(?P<left>[^=!<>]*?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+?))?\s*"
)


@lru_cache(maxsize=512)
def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function from an object to the values at the path. Raises JsonPathError."""
    body = text.strip()
    if body.startswith("{") and body.endswith("}"):
        body = body[1:-1].strip()
    steps = tuple(_steps(body.removeprefix("$").removeprefix("@")))

    def find(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            values = [result for each in values for result in step(each)]
        return values

    return find


def _steps(text: str) -> Iterator[Step]:
    at = 0
    while at < len(text):
        if text.startswith("..", at):
            yield _descend
            at += 2
            if at < len(text) and text[at] == "[":
                continue
        elif text[at] == ".":
            at += 1
            if at == len(text):
                return
        elif text[at] == "[":
            end = _closing(text, at)
            yield _subscript(text[at + 1 : end].strip())
            at = end + 1
            continue
        elif at:
            raise JsonPathError(f"unrecognized character in action: U+{ord(text[at]):04X} '{text[at]}'")
        name = _NAME.match(text, at)
        if name is None:
            raise JsonPathError(f"unrecognized character in action: U+{ord(text[at]):04X} '{text[at]}'")
        yield _all if name[0] == "*" else _member(re.sub(r"\\(.)", r"\1", name[0]))
        at = name.end()


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for at in range(start, len(text)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote and text[at - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[(":
            depth += 1
        elif letter in ")]":
            depth -= 1
            if not depth:
                return at
    raise JsonPathError("unterminated array")


def _member(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _all(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _descend(value: Any) -> Iterable[Any]:
    yield value
    for child in _all(value):
        yield from _descend(child)


def _subscript(text: str) -> Step:
    if text == "*":
        return _all
    if text.startswith("?(") and text.endswith(")"):
        return _filter(text[2:-1])
    parts = [_part(part.strip()) for part in _comma_parts(text)]
    if len(parts) == 1:
        return parts[0]
    return lambda value: (found for part in parts for found in part(value))


def _comma_parts(text: str) -> list[str]:
    return re.findall(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^,]+", text)


def _part(text: str) -> Step:
    if text[:1] in ("'", '"') and text[-1:] == text[0]:
        return _member(re.sub(r"\\(.)", r"\1", text[1:-1]))
    if re.fullmatch(r"-?\d+", text):
        return _element(int(text))
    if bounds := re.fullmatch(r"(-?\d*):(-?\d*)(?::(-?\d*))?", text):
        numbers = [int(bound) if bound else None for bound in bounds.groups()]
        return lambda value: value[slice(*numbers)] if isinstance(value, list) else ()
    raise JsonPathError(f"invalid array index {text}")


def _element(index: int) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise JsonPathError(f"unrecognized filter {text}")
    find, operator = compile_path(match["left"] or "$"), match["operator"]
    literal = _literal(match["right"]) if operator else None

    def step(value: Any) -> Iterable[Any]:
        for each in value if isinstance(value, list) else ():
            left = find(each)
            if left and (operator is None or _compare(left[0], operator, literal)):
                yield each

    return step


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        raise JsonPathError(f"unrecognized literal {text}") from None


def _compare(left: Any, operator: str, right: Any) -> bool:
    if type(left) is not type(right) and not (_is_number(left) and _is_number(right)):
        return operator == "!="
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
    return bool(left >= right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
