"""Label selectors, in text and object form, and field selectors: parsing, printing, matching.

A label selector is a tuple of requirements, each compiled to what matching needs (a frozenset of values), so
that matching a pod is a few dictionary look-ups. The text form is parsed by the grammar and with the
messages of
Kubernetes' own lexer; field selectors know which fields each kind can be selected by (`selectors_fields`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from cluster.api.selectors_fields import FieldSelector, FieldTerm, check_fields, parse_fields

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "FieldSelector",
    "FieldTerm",
    "LabelSelector",
    "Requirement",
    "SelectorError",
    "check_fields",
    "matches_object_form",
    "of_map",
    "of_object_form",
    "parse_fields",
    "parse_labels",
]

_BINARY: Final = "in, notin, =, ==, !=, gt, lt"
_TOKEN: Final = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_OPERATORS: Final = {"in", "notin", "=", "==", "!=", "<", ">"}
_SPECIAL: Final = set("=!(),<>") | {"==", "!="}

_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_WRONG_NAME: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_WRONG_PREFIX: Final = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and "
    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_WRONG_VALUE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


class SelectorError(ValueError):
    """The selector cannot be understood; the message is Kubernetes' own."""


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str
    """in | notin | exists | ! | gt | lt | = | == | !="""
    values: tuple[str, ...] = ()
    """Sorted."""
    test: Callable[[Mapping[str, str]], bool] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", _test(self.key, self.operator, self.values))

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"


def _test(key: str, operator: str, values: tuple[str, ...]) -> Callable[[Mapping[str, str]], bool]:
    allowed = frozenset(values)
    match operator:
        case "=" | "==":
            value = values[0]
            return lambda labels: labels.get(key) == value
        case "in":
            return lambda labels: labels.get(key) in allowed
        case "!=" | "notin":
            return lambda labels: labels.get(key) not in allowed
        case "exists":
            return lambda labels: key in labels
        case "!":
            return lambda labels: key not in labels
    bound = int(values[0])
    if operator == "gt":
        return lambda labels: (number := _integer(labels.get(key))) is not None and number > bound
    return lambda labels: (number := _integer(labels.get(key))) is not None and number < bound


def _integer(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    return int(text)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Matches no object at all: what an absent (null) selector means in most specs."""

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        found = labels or {}
        for requirement in self.requirements:  # noqa: SIM110  a generator would cost more than the tests
            if not requirement.test(found):
                return False
        return True

    def matches_object(self, obj: Mapping[str, Any]) -> bool:
        return self.matches(obj["metadata"].get("labels"))

    @property
    def everything(self) -> bool:
        return not self.nothing and not self.requirements

    def exact(self, key: str) -> str | None:
        """The one value that `key` must have, if the selector says so: what an index can be asked for."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator in ("=", "==", "in"):
                return requirement.values[0] if len(requirement.values) == 1 else None
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


def of_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """Equality with each entry (Service and ReplicationController selectors); empty matches everything."""
    return LabelSelector(tuple(Requirement(k, "=", (v,)) for k, v in sorted((labels or {}).items())))


def of_object_form(selector: Mapping[str, Any] | None) -> LabelSelector:
    """metav1.LabelSelector: absent matches nothing, empty matches everything. Raises SelectorError."""
    if selector is None:
        return NOTHING
    labels = selector.get("matchLabels") or {}
    requirements = [_checked(key, "=", (value,)) for key, value in labels.items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        requirements.append(_checked(expression["key"], operator, tuple(expression.get("values") or ())))
    requirements.sort(key=lambda requirement: requirement.key)
    return LabelSelector(tuple(requirements))


_OBJECT_OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def matches_object_form(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    return of_object_form(selector).matches(labels)


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """The text form: `app=web,tier in (a, b),!legacy,cores>4`. Raises SelectorError."""
    return LabelSelector(tuple(sorted(_Parser(text).requirements(), key=lambda r: r.key)))


class _Parser:
    """Recursive descent with one token of look-ahead; "" is the end."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0

    def requirements(self) -> Iterator[Requirement]:
        if not self._look():
            return
        while True:
            if not self._is_key(self._look()):
                raise SelectorError(f"found '{self._look()}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self._take()
            if not token:
                return
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if not self._is_key(self._look()):
                raise SelectorError(f"found '{self._look()}', expected: identifier after ','")

    @staticmethod
    def _is_key(token: str) -> bool:
        return token == "!" or _is_identifier(token)

    def _look(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._look()
        self._at += 1
        return token

    def _requirement(self) -> Requirement:
        absent = self._look() == "!"
        if absent:
            self._take()
        key = self._take()
        if not _is_identifier(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        check_key(key)
        if absent:
            return Requirement(key, "!")
        if self._look() in ("", ","):
            return Requirement(key, "exists")
        operator = self._take()
        if operator not in _OPERATORS:
            raise SelectorError(f"found '{operator}', expected: {_BINARY}")
        if operator in ("in", "notin"):
            return _checked(key, operator, tuple(self._values()))
        value = "" if self._look() in ("", ",") else self._take()
        if value in _SPECIAL:
            raise SelectorError(f"found '{value}', expected: identifier")
        return _checked(key, {"<": "lt", ">": "gt"}.get(operator, operator), (value,))

    def _values(self) -> list[str]:
        opening = self._take()
        if opening != "(":
            raise SelectorError(f"found '{opening}' expected: '('")
        values: set[str] = set()
        if self._look() == ")":
            self._take()
            return [""]
        while True:
            token = self._look()
            values.add("" if token in (",", ")") else self._take())
            if token in _SPECIAL - {",", ")"} or not token:
                raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
            token = self._take()
            if token == ")":
                return sorted(values)
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or ')'")


def _is_identifier(token: str) -> bool:
    return bool(token) and token not in _SPECIAL and token not in ("in", "notin")


def _checked(key: str, operator: str, values: Sequence[str]) -> Requirement:
    check_key(key)
    if operator in ("in", "notin") and not values:
        raise SelectorError(
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        )
    if operator in ("exists", "!") and values:
        raise SelectorError(
            f"values: Invalid value: {_go_list(values)}: "
            "values set must be empty for exists and does not exist"
        )
    for index, value in enumerate(values):
        if operator in ("gt", "lt") and _integer(value) is None:
            raise SelectorError(
                f"values[{index}]: Invalid value: {_quoted(value)}: "
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        wrong = wrong_value(value)
        if wrong:
            raise SelectorError(f"values[{index}][{key}]: Invalid value: {_quoted(value)}: {wrong}")
    return Requirement(key, operator, tuple(sorted(values)))


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _go_list(values: Sequence[str]) -> str:
    return "[" + ",".join(_quoted(value) for value in values) + "]"


@lru_cache(maxsize=4096)
def check_key(key: str) -> None:
    """A label key: [prefix/]name. Raises SelectorError."""
    wrong = wrong_key(key)
    if wrong:
        raise SelectorError(f"key: Invalid value: {_quoted(key)}: {'; '.join(wrong)}")


def wrong_key(key: str) -> list[str]:
    """What is wrong with a qualified name, in Kubernetes' words."""
    parts = key.split("/")
    if len(parts) > 2:
        characters = _WRONG_NAME.removeprefix("name part must ")
        return [f"a qualified name must {characters} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"]  # fmt: skip
    wrong = []
    if len(parts) == 2:
        if not parts[0]:
            wrong.append("prefix part must be non-empty")
        elif len(parts[0]) > 253:
            wrong.append("prefix part must be no more than 253 bytes")
        elif not _SUBDOMAIN.fullmatch(parts[0]):
            wrong.append(_WRONG_PREFIX)
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 bytes")
    if not _NAME.fullmatch(name):
        wrong.append(_WRONG_NAME)
    return wrong


@lru_cache(maxsize=4096)
def wrong_value(value: str) -> str:
    """What is wrong with a label value, or nothing."""
    wrong = []
    if len(value) > 63:
        wrong.append("must be no more than 63 bytes")
    if value and not _NAME.fullmatch(value):
        wrong.append(_WRONG_VALUE)
    return "; ".join(wrong)
