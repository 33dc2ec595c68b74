"""From YAML text to typed values, with a place for every complaint.

A scenario file is composed into YAML nodes (which know their line and column) and read against frozen
dataclasses: a field's type says what is expected there, and a value that does not fit is reported as
`file:line:column: what is wrong; expected …`. All problems of a file are collected before giving up, so
that one run shows them all.

Field names are written with dashes in YAML (`not_node` is `not-node`). A class may name a short field: a
scalar or list in place of the mapping is then read as that field alone (`kill: 2` is `kill: {node: 2}`).
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType, TypeVar

import yaml

T = TypeVar("T")

Seconds = NewType("Seconds", float)
"""A duration; written as 5, 5s, 300ms, 2m30s or 1h."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")

_COMPARISON = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*(.+?)\s*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A wanted value, written as the value itself (equal) or with an operator: ">= 4"."""

    operator: str
    value: Any

    def holds(self, seen: Any) -> bool:
        if self.operator == "==":
            return bool(seen == self.value)
        if self.operator == "!=":
            return bool(seen != self.value)
        if isinstance(seen, bool) or not isinstance(seen, int | float):
            return False
        match self.operator:
            case ">=":
                return bool(seen >= self.value)
            case "<=":
                return bool(seen <= self.value)
            case ">":
                return bool(seen > self.value)
            case _:
                return bool(seen < self.value)

    def __str__(self) -> str:
        return f"{self.value}" if self.operator == "==" else f"{self.operator} {self.value}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class DocumentError(Exception):
    """A file that can't be used, with everything that was found wrong in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def parse_seconds(text: str) -> Seconds:
    """Raises ValueError."""
    try:
        return Seconds(float(text))
    except ValueError:
        pass
    found = _DURATION.fullmatch(text.strip())
    if not found or not any(found.groups()):
        raise ValueError(f"{text!r} is not a duration")
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return Seconds(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


class Reader:
    """Reads the nodes of one file and collects what is wrong with them."""

    def __init__(self, file: str, short_fields: Mapping[type, str]) -> None:
        self._file = file
        self._short_fields = short_fields
        self.problems: list[Problem] = []

    def compose(self, text: str) -> yaml.Node | None:
        """The root node; None (and a problem) where the text is no YAML, or is empty."""
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.problems.append(Problem(self._file, line, column, f"not YAML: {error.problem}"))
            return None
        if root is None:
            self.problems.append(Problem(self._file, 1, 1, "the file is empty; expected a scenario"))
        return root

    def complain(self, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self._file, mark.line + 1, mark.column + 1, message))

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key text → (key node, value node); duplicates are reported."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"expected {what}: a mapping, not {_describe(node)}")
            return {}
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in entries:
                self.complain(key, f"{name!r} is given twice")
            entries[name] = (key, value)
        return entries

    def value(self, node: yaml.Node, wanted: Any, what: str) -> Any:
        """The node's value as type `wanted`; after a problem, something harmless."""
        origin = typing.get_origin(wanted)
        if origin in (typing.Union, types.UnionType):
            options = [option for option in typing.get_args(wanted) if option is not type(None)]
            return self.value(node, options[0], what)
        if wanted is Any:
            return plain(node)
        if dataclasses.is_dataclass(wanted) and wanted is not Comparison:
            return self.record(node, typing.cast(type[Any], wanted), what)
        if origin is list:
            (item,) = typing.get_args(wanted)
            nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
            return [self.value(each, item, what) for each in nodes]
        if origin is dict:
            _, item = typing.get_args(wanted)
            return {
                name: self.value(value, item, f"{what}.{name}")
                for name, (_, value) in self.mapping(node, what).items()
            }
        if origin is typing.Literal:
            return self._choice(node, typing.get_args(wanted), what)
        return self._scalar(node, wanted, what)

    def record(self, node: yaml.Node, wanted: type[T], what: str) -> T:
        """The node read as a dataclass."""
        hints = typing.get_type_hints(wanted)
        fields = {f.name.replace("_", "-"): f for f in dataclasses.fields(typing.cast(Any, wanted))}
        short = self._short_fields.get(wanted)
        values: dict[str, Any] = {}
        if short and not isinstance(node, yaml.MappingNode):
            values[short] = self.value(node, hints[short], what)
        else:
            for name, (key, value) in self.mapping(node, what).items():
                if name not in fields:
                    self.complain(key, f"{what} has no {name!r}; expected one of {', '.join(fields)}")
                    continue
                values[fields[name].name] = self.value(value, hints[fields[name].name], f"{what}.{name}")
        missing = [
            name
            for name, f in fields.items()
            if f.name not in values and f.default is f.default_factory is dataclasses.MISSING
        ]
        if missing:
            self.complain(node, f"{what} needs {', '.join(missing)}")
            values |= {fields[name].name: None for name in missing}
        return wanted(**values)

    def _choice(self, node: yaml.Node, options: tuple[str, ...], what: str) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        if text not in options:
            self.complain(node, f"{what} is one of {', '.join(options)}, not {_describe(node)}")
            return options[0]
        return text

    def _scalar(self, node: yaml.Node, wanted: Any, what: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.complain(node, f"expected {what}: {_NAMES[wanted]}, not {_describe(node)}")
            return None
        data = plain(node)
        if wanted is str:
            return node.value
        if wanted is Comparison:
            return _comparison(data)
        try:
            if wanted is Seconds:
                return parse_seconds(node.value)
            if wanted is bool and isinstance(data, bool):
                return data
            if wanted is int and isinstance(data, int) and not isinstance(data, bool):
                return data
            if wanted is float and isinstance(data, int | float):
                return float(data)
        except ValueError:
            pass
        self.complain(node, f"expected {what}: {_NAMES[wanted]}, not {_describe(node)}")
        return None


_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Seconds: "a duration such as 5s or 2m30s",
    Comparison: 'a value or a comparison such as ">= 4"',
}


def _comparison(data: Any) -> Comparison:
    found = _COMPARISON.fullmatch(data) if isinstance(data, str) else None
    if found:
        return Comparison(found[1], yaml.safe_load(found[2]))
    return Comparison("==", data)


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return repr(node.value) if node.value else "nothing"


def plain(node: yaml.Node) -> Any:
    """The node as ordinary data."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def read_text(path: Path) -> str:
    """A file's text. Raises DocumentError where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DocumentError([Problem(str(path), 1, 1, f"can't be read: {reason}")]) from None
