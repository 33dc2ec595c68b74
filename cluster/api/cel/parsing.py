"""Text to syntax tree: CEL's grammar, by recursive descent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.api.cel.errors import CompileError, located
from cluster.api.cel.kinds import DYN, Kind
from cluster.api.cel.literals import literal_of
from cluster.api.cel.values import UInt

DEPTH_LIMIT = 200


@dataclass(slots=True, eq=False)
class Node:
    position: int
    kind: Kind = DYN
    """Found by the checker."""


@dataclass(slots=True, eq=False, kw_only=True)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False, kw_only=True)
class Name(Node):
    name: str


@dataclass(slots=True, eq=False, kw_only=True)
class Select(Node):
    operand: Node
    field: str
    test: bool = False
    """has(operand.field)"""
    optional: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Call(Node):
    """`function` is a name, an operator like _+_, or after `resolve` a qualified name like sets.contains."""

    function: str
    target: Node | None
    arguments: list[Node]


@dataclass(slots=True, eq=False, kw_only=True)
class Macro(Node):
    """A comprehension: target.function(variables…, arguments…)."""

    function: str
    target: Node
    variables: list[str]
    arguments: list[Node]


@dataclass(slots=True, eq=False, kw_only=True)
class ListNode(Node):
    items: list[tuple[Node, bool]]
    """With whether an item is optional (`?x`)."""


@dataclass(slots=True, eq=False, kw_only=True)
class MapNode(Node):
    entries: list[tuple[Node, Node, bool]]


@dataclass(slots=True, eq=False, kw_only=True)
class StructNode(Node):
    """Type{field: value}; types are names with dots."""

    name: str
    fields: list[tuple[str, Node]]


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    |(?P<operator>\.\?|\[\?|&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
    "namespace", "return", "var", "void", "while",
})  # fmt: skip
_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">", "in")
_MACROS = {
    "all": ((2, 1), (3, 2)),
    "exists": ((2, 1), (3, 2)),
    "exists_one": ((2, 1), (3, 2)),
    "existsOne": ((3, 2),),
    "map": ((2, 1), (3, 1)),
    "filter": ((2, 1),),
    "transformList": ((3, 2), (4, 2)),
    "transformMap": ((3, 2), (4, 2)),
    "optMap": ((2, 1),),
    "optFlatMap": ((2, 1),),
    "sortBy": ((2, 1),),
}
"""Number of arguments → how many of them are variables."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str) -> Node:
    """Raises CompileError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize()
        self._at = 0
        self._depth = 0

    def _tokenize(self) -> list[_Token]:
        tokens, at, text = [], 0, self._text
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(at, f"Syntax error: token recognition error at: '{text[at]}'")
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup or "", match.group(), at))
            at = match.end()
        tokens.append(_Token("end", "<EOF>", len(text)))
        return tokens

    def _error(self, position: int, message: str) -> CompileError:
        return CompileError([located(self._text, position, message)])

    def _unexpected(self) -> CompileError:
        token = self._tokens[self._at]
        return self._error(token.position, f"Syntax error: mismatched input '{token.text}'")

    def _is(self, text: str) -> bool:
        token = self._tokens[self._at]
        return token.text == text and token.kind in ("operator", "name")

    def _take(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> _Token:
        if not self._is(text):
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1]

    def whole(self) -> Node:
        node = self._expression()
        if self._tokens[self._at].kind != "end":
            raise self._unexpected()
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self._error(self._tokens[self._at].position, "expression recursion limit exceeded: 250")
        condition = self._left_associative(("||",), self._and)
        if self._is("?"):
            position = self._expect("?").position
            first = self._left_associative(("||",), self._and)
            self._expect(":")
            second = self._expression()
            condition = Call(position, function="_?_:_", target=None, arguments=[condition, first, second])
        self._depth -= 1
        return condition

    def _and(self) -> Node:
        return self._left_associative(("&&",), self._comparison)

    def _comparison(self) -> Node:
        return self._left_associative(_COMPARISONS, self._sum)

    def _sum(self) -> Node:
        return self._left_associative(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._left_associative(("*", "/", "%"), self._unary)

    def _left_associative(self, operators: tuple[str, ...], part: Callable[[], Node]) -> Node:
        left = part()
        while self._tokens[self._at].text in operators and self._tokens[self._at].kind in (
            "operator", "name",
        ):  # fmt: skip
            token = self._tokens[self._at]
            self._at += 1
            left = Call(token.position, function=f"_{token.text}_", target=None, arguments=[left, part()])
        return left

    def _unary(self) -> Node:
        token = self._tokens[self._at]
        if token.kind == "operator" and token.text in ("!", "-"):
            self._at += 1
            following = self._tokens[self._at]
            if token.text == "-" and following.kind in ("int", "float"):
                self._at += 1
                value = self._number(following, "-")
                return self._member(Literal(token.position, value=value))
            return Call(token.position, function=f"{token.text}_", target=None, arguments=[self._unary()])
        return self._member(self._primary())

    def _member(self, node: Node) -> Node:
        while True:
            token = self._tokens[self._at]
            if token.kind != "operator":
                return node
            match token.text:
                case "." | ".?":
                    self._at += 1
                    node = self._selected(node, token)
                case "[" | "[?":
                    self._at += 1
                    index = self._expression()
                    self._expect("]")
                    name = "_[_]" if token.text == "[" else "_[?_]"
                    node = Call(token.position, function=name, target=None, arguments=[node, index])
                case "{" if name := _qualified(node):
                    self._at += 1
                    node = StructNode(node.position, name=name, fields=self._struct_fields())
                case _:
                    return node

    def _struct_fields(self) -> list[tuple[str, Node]]:
        fields: list[tuple[str, Node]] = []
        while not self._is("}"):
            token = self._tokens[self._at]
            if token.kind not in ("name", "quoted"):
                raise self._unexpected()
            self._at += 1
            self._expect(":")
            fields.append((token.text.strip("`"), self._expression()))
            if not self._take(","):
                break
        self._expect("}")
        return fields

    def _selected(self, node: Node, dot: _Token) -> Node:
        token = self._tokens[self._at]
        if token.kind not in ("name", "quoted"):
            raise self._unexpected()
        self._at += 1
        field = token.text.strip("`")
        if dot.text == "." and self._is("("):
            position = self._expect("(").position
            arguments = self._arguments(")")
            return self._call(position, field, node, arguments)
        return Select(dot.position, operand=node, field=field, optional=dot.text == ".?")

    def _arguments(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self._is(end):
            found.append(self._expression())
            if not self._take(","):
                break
        self._expect(end)
        return found

    def _call(self, position: int, name: str, target: Node | None, arguments: list[Node]) -> Node:
        if target is None and name == "has":
            if len(arguments) != 1 or not isinstance(arguments[0], Select):
                raise self._error(position, "invalid argument to has() macro")
            arguments[0].test = True
            return arguments[0]
        if target is not None and name in _MACROS:
            for count, variables in _MACROS[name]:
                names = arguments[:variables]
                if len(arguments) == count and all(isinstance(n, Name) for n in names):
                    return Macro(
                        position,
                        function=name,
                        target=target,
                        variables=[n.name for n in names if isinstance(n, Name)],
                        arguments=arguments[variables:],
                    )
        return Call(position, function=name, target=target, arguments=arguments)

    def _number(self, token: _Token, sign: str = "") -> Any:
        text = token.text
        if token.kind == "float":
            return float(sign + text)
        unsigned = text[-1] in "uU" and not sign
        digits = text.rstrip("uU")
        value = int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
        if unsigned:
            return UInt(value)
        value = -value if sign else value
        if not -(2**63) <= value < 2**63:
            raise self._error(token.position, "invalid int literal")
        return value

    def _primary(self) -> Node:
        token = self._tokens[self._at]
        position = token.position
        self._at += 1
        match token.kind:
            case "int" | "float":
                return Literal(position, value=self._number(token))
            case "string":
                return Literal(position, value=literal_of(token.text))
            case "name":
                return self._named(token)
            case "operator":
                return self._bracketed(token)
        self._at -= 1
        raise self._unexpected()

    def _named(self, token: _Token) -> Node:
        if token.text in _CONSTANTS:
            return Literal(token.position, value=_CONSTANTS[token.text])
        if self._is("("):
            position = self._expect("(").position
            return self._call(position, token.text, None, self._arguments(")"))
        if token.text in RESERVED or token.text == "in":
            raise self._error(token.position, f"reserved identifier: {token.text}")
        return Name(token.position, name=token.text)

    def _bracketed(self, token: _Token) -> Node:
        match token.text:
            case "(":
                node = self._expression()
                self._expect(")")
                return node
            case "[":
                return ListNode(token.position, items=self._items())
            case "{":
                return MapNode(token.position, entries=self._entries())
        return self._fail()

    def _fail(self) -> Node:
        self._at -= 1
        raise self._unexpected()

    def _items(self) -> list[tuple[Node, bool]]:
        items: list[tuple[Node, bool]] = []
        while not self._is("]"):
            optional = self._take("?")
            items.append((self._expression(), optional))
            if not self._take(","):
                break
        self._expect("]")
        return items

    def _entries(self) -> list[tuple[Node, Node, bool]]:
        entries: list[tuple[Node, Node, bool]] = []
        while not self._is("}"):
            optional = self._take("?")
            key = self._expression()
            self._expect(":")
            entries.append((key, self._expression(), optional))
            if not self._take(","):
                break
        self._expect("}")
        return entries


def _qualified(node: Node) -> str:
    """`Object.spec` of a chain of names; empty for anything else."""
    match node:
        case Name(name=name):
            return name
        case Select(operand=operand, field=field, test=False, optional=False):
            head = _qualified(operand)
            return f"{head}.{field}" if head else ""
    return ""


_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
