"""A little awk for the small shell: `pattern {print …}` over the fields of each line.

Patterns are /regular expressions/, BEGIN, END, and comparisons of fields, NR and NF with numbers or texts; an
action prints fields, texts, NR and NF, side by side or with commas. Other programs are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agents.emulated.textcommands import Command, inputs, lines_of, options, unescaped
from agents.emulated.world import Run, err, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

_RULE = re.compile(r"\s*([^{]*?)\s*(?:\{([^}]*)\}|$)\s*;?")
_TERM = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\$NF|\$\(NF-(\d+)\)|\$\d+|NR|NF|\d+(?:\.\d+)?|,)')
_COMPARISON = re.compile(r"(.+?)\s*(==|!=|>=|<=|>|<|~)\s*(.+)")


class _Unknown(ValueError):
    pass


class _Line:
    def __init__(self, text: str, number: int, separator: str) -> None:
        self.text = text
        self.number = number
        if not separator or separator == " ":
            self.fields = text.split()
        else:
            self.fields = (
                re.split(separator if len(separator) > 1 else re.escape(separator), text) if text else []
            )

    def field(self, number: int) -> str:
        if number == 0:
            return self.text
        return self.fields[number - 1] if 0 < number <= len(self.fields) else ""

    def value(self, term: str) -> str:
        if term.startswith('"'):
            return unescaped(term[1:-1].replace('\\"', '"'))
        if term == "NR":
            return str(self.number)
        if term == "NF":
            return str(len(self.fields))
        if term == "$NF":
            return self.field(len(self.fields))
        if term.startswith("$("):
            return self.field(len(self.fields) - int(term[5:-1]))
        return self.field(int(term[1:])) if term.startswith("$") else term


def awk(shell: Shell, words: list[str]) -> Run:
    given, rest = options(words, "Fv")
    if not rest:
        yield err("Usage: awk [-F SEP] PROGRAM [FILE]...\n")
        return 1
    program, *paths = rest
    separator = unescaped(given.get("F", ""))
    try:
        rules = _rules(program)
        data, code = b"", 0
        if any(pattern != "BEGIN" for pattern, _ in rules):
            data, code = yield from inputs(shell, "awk", paths)
        yield out("".join(_printed(rules, "BEGIN", _Line("", 0, separator))))
        line = _Line("", 0, separator)
        for number, text in enumerate(lines_of(data), 1):
            line = _Line(text, number, separator)
            yield out("".join(_printed(rules, "", line)))
        yield out("".join(_printed(rules, "END", line)))
    except (_Unknown, re.error) as problem:
        yield err(f"awk: cmd. line:1: {problem}\n")
        return 1
    return code


def _rules(program: str) -> list[tuple[str, str]]:
    rules: list[tuple[str, str]] = []
    at = 0
    while at < len(program.rstrip()):
        match = _RULE.match(program, at)
        if match is None or match.end() == at:
            raise _Unknown("Unexpected token")
        rules.append((match[1], "print $0" if match[2] is None else match[2].strip()))
        at = match.end()
    return rules


def _printed(rules: list[tuple[str, str]], stage: str, line: _Line) -> list[str]:
    """What the rules of a stage (BEGIN, END, or each line) print."""
    printed: list[str] = []
    for pattern, action in rules:
        if pattern in ("BEGIN", "END") or stage:
            if pattern != stage:
                continue
        elif not _matches(pattern, line):
            continue
        printed += [_print(statement.strip(), line) for statement in action.split(";") if statement.strip()]
    return printed


def _matches(pattern: str, line: _Line) -> bool:
    if not pattern:
        return True
    if pattern.startswith("/") and pattern.endswith("/"):
        return re.search(pattern[1:-1], line.text) is not None
    match = _COMPARISON.fullmatch(pattern)
    if match is None:
        raise _Unknown(f"Unexpected token {pattern}")
    left, sign, right = line.value(match[1].strip()), match[2], match[3].strip()
    if sign == "~":
        return re.search(right.strip("/"), left) is not None
    wanted = line.value(right)
    try:
        order = (float(left) > float(wanted)) - (float(left) < float(wanted))
    except ValueError:
        order = (left > wanted) - (left < wanted)
    return {"==": order == 0, "!=": order != 0, ">": order > 0, "<": order < 0}.get(
        sign, order >= 0 if sign == ">=" else order <= 0
    )


def _print(statement: str, line: _Line) -> str:
    if not statement.startswith("print"):
        raise _Unknown(f"Unexpected token {statement}")
    rest = statement.removeprefix("print").strip()
    parts: list[str] = []
    at = 0
    while at < len(rest):
        match = _TERM.match(rest, at)
        if match is None:
            raise _Unknown(f"Unexpected token {rest[at:]}")
        parts.append(" " if match[1] == "," else line.value(match[1]))
        at = match.end()
        while at < len(rest) and rest[at] == " ":
            at += 1
    return ("".join(parts) if rest else line.text) + "\n"


COMMANDS: dict[str, Command] = {"awk": awk}
