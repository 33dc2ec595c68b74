"""What the small shell makes of words: variables, command output, arithmetic, globs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Generator, Sequence
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Any

from agents.emulated.syntax import SyntaxProblem, Tree, Word, parse
from agents.emulated.world import Step, World, err

_SPECIAL = "?#@*$!0123456789-"
_NAME = re.compile(r"[A-Za-z_]\w*")
_BRACED = re.compile(r"(#?)([A-Za-z_]\w*|[?#@*$!0-9])(?:(:?[-=+?]|##?|%%?|//?)(.*))?", re.DOTALL)
_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda left, right: int(left / right),
    ast.Mod: lambda left, right: left - right * int(left / right),
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARE: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Expansion:
    """A part of `Shell`."""

    world: World
    variables: dict[str, str]
    arguments: list[str]
    name: str
    status: int
    directory: str
    substituted = False
    """The words expanded last held a command's output."""

    if TYPE_CHECKING:

        def child(self) -> Any: ...

        def path(self, text: str) -> str: ...

        def capture(self, tree: Tree) -> Generator[Step, object, bytes]: ...

    def expand_all(self, words: Sequence[Word]) -> Generator[Step, object, list[str]]:
        self.substituted = False
        parts: list[str] = []
        for word in words:
            parts += yield from self._expand(word)
        return parts

    def expand_one(self, word: Word) -> Generator[Step, object, str]:
        """Without splitting and globs."""
        text = ""
        for piece, is_literal in word.pieces:
            text += piece if is_literal else (yield from self._substitute(piece))
        return text

    def _expand(self, word: Word) -> Generator[Step, object, list[str]]:
        bare = [piece for piece, is_literal in word.pieces if not is_literal and piece]
        if word.quoted and bare == ["$@"] and len([p for p, _ in word.pieces if p]) == 1:
            return list(self.arguments)
        text = yield from self.expand_one(word)
        if word.quoted:
            return [text]
        changed = any("$" in piece or "`" in piece for piece in bare)
        assigned = bool(bare) and re.match(r"[A-Za-z_]\w*=", word.pieces[0][0]) is not None
        if assigned:
            return [text]
        found: list[str] = []
        for part in text.split() if changed else [text]:
            found += self._glob(part)
        return found

    def _glob(self, text: str) -> list[str]:
        if not any(character in text for character in "*?["):
            return [text]
        places = ["/"] if text.startswith("/") else [""]
        for part in text.strip("/").split("/"):
            matching = []
            for place in places:
                try:
                    names = self.world.files.names(self.path(place or "."))
                except OSError:
                    continue
                matching += [
                    f"{place}{name}/"
                    for name in names
                    if fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
                ]
            places = matching
        return [place.rstrip("/") for place in places] or [text]

    def _substitute(self, piece: str) -> Generator[Step, object, str]:
        result, at = "", 0
        while at < len(piece):
            character = piece[at]
            if character == "`":
                end = piece.index("`", at + 1) if "`" in piece[at + 1 :] else len(piece)
                result += yield from self._output_of(piece[at + 1 : end])
                at = end + 1
            elif character != "$" or at + 1 == len(piece):
                result += character
                at += 1
            elif piece.startswith("$((", at) and (end := _closing(piece, at + 1)) and piece[end - 1] == ")":
                inner = yield from self._substitute(piece[at + 3 : end - 1])
                result += self._arithmetic(inner)
                at = end + 1
            elif piece[at + 1] == "(":
                end = _closing(piece, at + 1)
                result += yield from self._output_of(piece[at + 2 : end])
                at = end + 1
            elif piece[at + 1] == "{":
                end = piece.find("}", at)
                end = len(piece) if end < 0 else end
                result += yield from self._braced(piece[at + 2 : end])
                at = end + 1
            elif (match := _NAME.match(piece, at + 1)) is not None:
                result += self.value(match[0]) or ""
                at = match.end()
            elif piece[at + 1] in _SPECIAL:
                result += self.value(piece[at + 1]) or ""
                at += 2
            else:
                result += character
                at += 1
        return result

    def value(self, name: str) -> str | None:
        match name:
            case "?":
                return str(self.status)
            case "#":
                return str(len(self.arguments))
            case "@" | "*":
                return " ".join(self.arguments)
            case "$":
                return "1"
            case "!" | "-":
                return ""
            case "0":
                return self.name
            case "HOSTNAME":
                return self.variables.get(name, self.world.hostname)
        if name.isdigit():
            return self.arguments[int(name) - 1] if int(name) <= len(self.arguments) else None
        return self.variables.get(name)

    def _braced(self, text: str) -> Generator[Step, object, str]:
        match = _BRACED.fullmatch(text)
        if match is None:
            yield err(f"{self.name}: bad substitution\n")
            return ""
        length, name, how, word = match.groups()
        value = self.value(name)
        if length:
            return str(len(value or ""))
        if how is None:
            return value or ""
        word = yield from self._substitute(word or "")
        if how[-1] in "-=+?":
            missing = value is None or (how[0] == ":" and not value)
            if how[-1] == "+":
                return "" if missing else word
            if missing and how[-1] == "=":
                self.variables[name] = word
            return word if missing else value or ""
        return _trimmed(value or "", how, word)

    def _output_of(self, source: str) -> Generator[Step, object, str]:
        self.substituted = True
        shell = self.child()
        try:
            data = yield from shell.capture(parse(source))
        except SyntaxProblem as problem:
            yield err(f"{self.name}: {problem}\n")
            return ""
        self.status = shell.status
        text: str = data.decode(errors="surrogateescape").rstrip("\n")
        return text

    def _arithmetic(self, source: str) -> str:
        text = source.strip().replace("&&", " and ").replace("||", " or ")
        text = re.sub(r"!(?!=)", " not ", text).replace("/", "//")
        try:
            return str(self._number(ast.parse(text or "0", mode="eval").body))
        except (SyntaxError, ValueError, ZeroDivisionError):
            return "0"

    def _number(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as value):
                return int(value)
            case ast.Name(id=name):
                text = self.value(name) or "0"
                return int(text) if re.fullmatch(r"-?\d+", text) else 0
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](self._number(left), self._number(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return int(not self._number(operand))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return int(_COMPARE[type(op)](self._number(left), self._number(right)))
            case ast.BoolOp(op=ast.And(), values=values):
                return int(all(self._number(value) for value in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return int(any(self._number(value) for value in values))
        raise ValueError("not an arithmetic expression")


def _closing(text: str, at: int) -> int:
    """Of the bracket at `at`; the text's end where there is none."""
    depth = 0
    for position in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if not depth:
            return position
    return len(text)


def _trimmed(value: str, how: str, pattern: str) -> str:
    """${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}"""
    if how[0] == "/":
        old, _, new = pattern.partition("/")
        expression = translate(old).replace(r"\Z", "").replace(r"\z", "")
        return re.sub(expression, lambda _: new, value, count=0 if how == "//" else 1)
    lengths = range(len(value) + 1)
    if how in ("##", "%"):
        lengths = lengths[::-1] if how == "##" else lengths
    for length in lengths if how != "%%" else lengths[::-1]:
        if how[0] == "#" and fnmatchcase(value[:length], pattern):
            return value[length:]
        if how[0] == "%" and fnmatchcase(value[len(value) - length :], pattern):
            return value[: len(value) - length]
    return value
