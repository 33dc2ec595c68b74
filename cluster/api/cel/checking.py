"""Type-checks an expression against the types of its variables, and notes the types in the tree.

What is not known (`dyn`) fits everything. Qualified function names (`sets.contains`) are resolved here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.api.cel.errors import CompileError, located
from cluster.api.cel.evaluation import unescaped
from cluster.api.cel.functions import FUNCTIONS
from cluster.api.cel.kinds import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    TYPE_NAMES,
    UINT,
    Kind,
    kind_of,
    list_of,
    map_of,
)
from cluster.api.cel.parsing import Call, ListNode, Literal, Macro, MapNode, Name, Node, Select, StructNode
from cluster.api.cel.signatures import SIGNATURES
from cluster.api.cel.values import TypeValue, UInt

_NUMBERS = (INT, UINT, DOUBLE)
_ORDERED = (*_NUMBERS, STRING, BYTES, BOOL, DURATION, TIMESTAMP)
_OPTIONAL = "optional_type"
_STRUCTS = ("JSONPatch", "Object")
"""What mutating policies may make."""
_UNKNOWN = (DYN, NULL)
_CANONICAL = {"existsOne": "exists_one"}


def check(
    text: str, tree: Node, variables: Mapping[str, Kind], result: Kind | None
) -> tuple[Kind, frozenset[str]]:
    """The kind of the result and the variables in use. Raises CompileError."""
    checker = _Checker(text, variables)
    kind = checker.kind(tree)
    if checker.problems:
        raise CompileError(checker.problems)
    if result is not None and not _fits(kind, result):
        raise CompileError([f"must evaluate to {result}"])
    return kind, frozenset(checker.used)


class _Checker:
    def __init__(self, text: str, variables: Mapping[str, Kind]) -> None:
        self.problems: list[str] = []
        self.used: dict[str, None] = {}
        self._text = text
        self._variables = variables
        self._scope: dict[str, Kind] = dict(variables)

    def _problem(self, node: Node, message: str) -> Kind:
        self.problems.append(located(self._text, node.position, message))
        return DYN

    def kind(self, node: Node) -> Kind:
        node.kind = found = self._kind(node)
        return found

    def _kind(self, node: Node) -> Kind:
        match node:
            case Literal():
                return _literal(node)
            case Name():
                return self._name(node)
            case Select():
                return self._select(node)
            case ListNode():
                return list_of(_common([self.kind(item) for item, _ in node.items]))
            case MapNode():
                keys = [self.kind(key) for key, _, _ in node.entries]
                return map_of(_common(keys), _common([self.kind(value) for _, value, _ in node.entries]))
            case StructNode():
                return self._struct(node)
            case Macro():
                return self._macro(node)
            case Call():
                return self._call(node)
        raise AssertionError(node)

    def _name(self, node: Name) -> Kind:
        found = self._scope.get(node.name)
        if found is None:
            if node.name in TYPE_NAMES:
                return TYPE
            return self._problem(node, f"undeclared reference to '{node.name}' (in container '')")
        if node.name in self._variables:
            self.used[node.name] = None
        return found

    def _select(self, node: Select) -> Kind:
        operand = self.kind(node.operand)
        optional = node.optional or operand.name == _OPTIONAL
        if operand.name == _OPTIONAL:
            operand = operand.params[0]
        found = self._field(node, operand)
        if node.test:
            return BOOL
        return Kind(_OPTIONAL, (found,)) if optional else found

    def _field(self, node: Select, operand: Kind) -> Kind:
        if operand.struct is not None:
            field = operand.struct.fields.get(unescaped(node.field))
            if field is None:
                return self._problem(node, f"undefined field '{node.field}'")
            return kind_of(field.type)
        if operand.name == "map":
            return operand.params[1]
        if operand == DYN:
            return DYN
        return self._problem(node, f"type '{operand}' does not support field selection")

    def _struct(self, node: StructNode) -> Kind:
        for _, value in node.fields:
            self.kind(value)
        if node.name.partition(".")[0] not in _STRUCTS:
            return self._problem(node, f"undeclared reference to '{node.name}' (in container '')")
        return DYN

    def _macro(self, node: Macro) -> Kind:
        target = self.kind(node.target)
        optional = node.function in ("optMap", "optFlatMap")
        if optional:
            kinds = [target.params[0] if target.name == _OPTIONAL else DYN]
        elif target.name in ("list", "map") or target == DYN:
            kinds = _ranged(target, len(node.variables))
        else:
            kinds = [DYN] * len(node.variables)
            self._problem(
                node,
                f"expression of type '{target}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
        outer = dict(self._scope)
        self._scope.update(zip(node.variables, kinds, strict=True))
        bodies = [self.kind(each) for each in node.arguments]
        self._scope = outer
        return self._macro_result(node, target, bodies)

    def _macro_result(self, node: Macro, target: Kind, bodies: list[Kind]) -> Kind:
        function = _CANONICAL.get(node.function, node.function)
        conditions = bodies[:1] if function in ("all", "exists", "exists_one", "filter") else bodies[:-1]
        for body, condition in zip(node.arguments, conditions, strict=False):
            if not _fits(condition, BOOL):
                self._problem(body, f"expected type 'bool' but found '{condition}'")
        match function:
            case "all" | "exists" | "exists_one":
                return BOOL
            case "filter":
                return list_of(target.params[0]) if target.params else list_of(DYN)
            case "map" | "transformList":
                return list_of(bodies[-1])
            case "transformMap":
                return map_of(target.params[0] if target.name == "map" else INT, bodies[-1])
            case "optMap":
                return Kind(_OPTIONAL, (bodies[0],))
            case "optFlatMap":
                return bodies[0]
        return target

    def _call(self, node: Call) -> Kind:
        if isinstance(node.target, Name) and node.target.name not in self._scope:
            qualified = f"{node.target.name}.{node.function}"
            if qualified in FUNCTIONS:
                node.function, node.target = qualified, None
        arguments = [self.kind(each) for each in node.arguments]
        if node.function.startswith(("_", "!", "-")):
            return self._operator(node, arguments)
        if node.target is not None:
            target = self.kind(node.target)
            if node.function == "or":
                return target
            if node.function in ("orValue", "value") and (target.name == _OPTIONAL or target == DYN):
                return target.params[0] if target.params else DYN
            arguments.insert(0, target)
        if node.function not in FUNCTIONS:
            return self._problem(node, f"undeclared reference to '{node.function}' (in container '')")
        return self._function(node, arguments)

    def _function(self, node: Call, arguments: list[Kind]) -> Kind:
        if node.function in ("optional.of", "optional.ofNonZeroValue"):
            return Kind(_OPTIONAL, (arguments[0],))
        if node.function == "optional.none":
            return Kind(_OPTIONAL, (DYN,))
        if node.function in ("min", "max", "sum") and arguments and arguments[0].name == "list":
            return arguments[0].params[0]
        known = SIGNATURES.get(node.function)
        if known is None:
            return DYN
        method = node.target is not None
        fitting = [
            each
            for each in known
            if each.method is method
            and len(each.arguments) == len(arguments)
            and all(map(_fits, arguments, each.arguments))
        ]
        if not fitting:
            return self._no_overload(node, arguments, method)
        return fitting[0].result if len({each.result for each in fitting}) == 1 else DYN

    def _no_overload(self, node: Call, arguments: list[Kind], method: bool = False) -> Kind:
        rest = ", ".join(_shown(each) for each in arguments[method:])
        shown = f"{_shown(arguments[0])}.({rest})" if method else f"({rest})"
        return self._problem(node, f"found no matching overload for '{node.function}' applied to '{shown}'")

    def _operator(self, node: Call, kinds: list[Kind]) -> Kind:
        match node.function:
            case "_&&_" | "_||_" | "!_":
                fitting, result = all(_fits(kind, BOOL) for kind in kinds), BOOL
            case "_?_:_":
                fitting = _fits(kinds[0], BOOL) and (_fits(kinds[1], kinds[2]) or _fits(kinds[2], kinds[1]))
                result = kinds[1] if kinds[1] == kinds[2] else DYN
            case "_==_" | "_!=_":
                fitting, result = _fits(kinds[0], kinds[1]) or _fits(kinds[1], kinds[0]), BOOL
            case "_<_" | "_>_" | "_<=_" | "_>=_":
                fitting, result = _ordered(*kinds), BOOL
            case "_in_":
                fitting, result = _member(*kinds), BOOL
            case "_[_]" | "_[?_]":
                return self._index(node, kinds)
            case "-_":
                fitting, result = any(_fits(kinds[0], each) for each in (INT, DOUBLE)), kinds[0]
            case _:
                found = _arithmetic(node.function, *kinds)
                fitting, result = found is not None, found or DYN
        return result if fitting else self._no_overload(node, kinds)

    def _index(self, node: Call, kinds: list[Kind]) -> Kind:
        operand, index = kinds
        optional = node.function == "_[?_]" or operand.name == _OPTIONAL
        if operand.name == _OPTIONAL:
            operand = operand.params[0]
        if operand == DYN:
            found = DYN
        elif operand.name == "list" and _fits(index, INT):
            found = operand.params[0]
        elif operand.name == "map" and _fits(index, operand.params[0]):
            found = operand.params[1]
        else:
            return self._no_overload(node, kinds)
        return Kind(_OPTIONAL, (found,)) if optional else found


def _literal(node: Literal) -> Kind:
    match node.value:
        case None:
            return NULL
        case bool():
            return BOOL
        case UInt():
            return UINT
        case int():
            return INT
        case float():
            return DOUBLE
        case str():
            return STRING
        case TypeValue():
            return TYPE
    return BYTES


def _common(kinds: list[Kind]) -> Kind:
    if not kinds or any(kind != kinds[0] for kind in kinds):
        return DYN
    return kinds[0]


def _ranged(target: Kind, count: int) -> list[Kind]:
    if target == DYN:
        return [DYN] * count
    if target.name == "list":
        return [target.params[0]] if count == 1 else [INT, target.params[0]]
    return list(target.params[:count])


def _fits(kind: Kind, wanted: Kind) -> bool:
    if kind in _UNKNOWN or wanted in _UNKNOWN:
        return True
    if kind.name != wanted.name:
        return False
    if kind.struct is not wanted.struct:
        return False
    return all(map(_fits, kind.params, wanted.params))


def _ordered(left: Kind, right: Kind) -> bool:
    if DYN in (left, right):
        return True
    return (left in _NUMBERS and right in _NUMBERS) or (left == right and left in _ORDERED)


def _member(value: Kind, container: Kind) -> bool:
    if container.name == "list" or container.name == "map":
        return _fits(value, container.params[0])
    return container == DYN


def _arithmetic(function: str, left: Kind, right: Kind) -> Kind | None:
    if DYN in (left, right):
        return DYN
    if left == right and left in _NUMBERS:
        return None if function == "_%_" and left == DOUBLE else left
    pair = (left, right)
    if function == "_+_":
        if pair in ((TIMESTAMP, DURATION), (DURATION, TIMESTAMP)):
            return TIMESTAMP
        if left == right and left in (STRING, BYTES, DURATION):
            return left
        if left.name == right.name == "list" and _fits(left, right):
            return left if left == right else list_of(DYN)
    if function == "_-_":
        if pair == (TIMESTAMP, TIMESTAMP) or pair == (DURATION, DURATION):
            return DURATION
        if pair == (TIMESTAMP, DURATION):
            return TIMESTAMP
    return None


def _shown(kind: Kind) -> str:
    """As cel-go prints it in messages."""
    if kind == NULL:
        return "null"
    return str(kind)
