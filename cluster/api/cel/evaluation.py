"""Syntax trees to closures, and what operators and macros do.

A closure takes the scope (a private dict of variables) and gives a value. Names of comprehensions are set
in the same dict and put back, so that a loop costs no copies. Where the checker knows that a field holds a
time, a duration, bytes or a double, its JSON value is lifted to that when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any, TypeAlias

from cluster.api.cel.arithmetic import BINARY, negate
from cluster.api.cel.errors import CostExceeded, EvalError
from cluster.api.cel.functions import FUNCTIONS
from cluster.api.cel.kinds import BYTES, DOUBLE, DURATION, TIMESTAMP, TYPE, TYPE_NAMES, Kind
from cluster.api.cel.parsing import (
    RESERVED,
    Call,
    ListNode,
    Literal,
    Macro,
    MapNode,
    Name,
    Node,
    Select,
    StructNode,
)
from cluster.api.cel.times import duration_of, timestamp_of
from cluster.api.cel.values import NONE, Optional, TypeValue, equal, less

Scope: TypeAlias = dict[str, Any]
Code: TypeAlias = Callable[[Scope], Any]

STEP_LIMIT = 1_000_000
"""Steps of one evaluation."""
_ABSENT: Any = object()


class Budget:
    """How many more steps may be taken; shared by evaluations that count together."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEP_LIMIT) -> None:
        self.left = steps

    def take(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise CostExceeded("operation cancelled: actual cost limit exceeded")


def code_of(node: Node) -> Code:
    match node:
        case Literal(value=value):
            return lambda scope: value
        case Name(name=name) if node.kind == TYPE and name in TYPE_NAMES:
            named = TypeValue(name)
            return lambda scope: named
        case Name(name=name):
            return _lifted(node.kind, _name(name))
        case Select():
            return _lifted(node.kind, _select(node))
        case ListNode():
            return _list(node)
        case MapNode():
            return _map(node)
        case StructNode():
            return _struct(node)
        case Macro():
            return _macro(node)
        case Call():
            return _call(node)
    raise AssertionError(node)


def _as_bytes(value: Any) -> Any:
    from base64 import b64decode

    return b64decode(value)


_LIFTS: dict[Kind, Callable[[Any], Any]] = {
    DOUBLE: float,
    TIMESTAMP: timestamp_of,
    DURATION: duration_of,
    BYTES: _as_bytes,
}
_LIFTED_FROM = {DOUBLE: int, TIMESTAMP: str, DURATION: str, BYTES: str}


def _lifted(kind: Kind, code: Code) -> Code:
    lift = _LIFTS.get(kind)
    if lift is None:
        return code
    source = _LIFTED_FROM[kind]

    def run(scope: Scope) -> Any:
        value = code(scope)
        return lift(value) if type(value) is source else value

    return run


def _name(name: str) -> Code:
    def run(scope: Scope) -> Any:
        found = scope.get(name, _ABSENT)
        if found is _ABSENT:
            raise EvalError(f"no such attribute(s): {name}")
        return found() if callable(found) else found

    return run


UNESCAPED = (
    ("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"),
)  # fmt: skip
_KEYWORDS = RESERVED | {"true", "false", "null", "in"}


def unescaped(field: str) -> str:
    """The field that an expression's identifier stands for."""
    if "__" not in field:
        return field
    if field.startswith("__") and field.endswith("__") and field[2:-2] in _KEYWORDS:
        return field[2:-2]
    for escape, text in UNESCAPED:
        field = field.replace(escape, text)
    return field


def _select(node: Select) -> Code:
    operand, field = code_of(node.operand), unescaped(node.field)
    if node.test:
        return _has(operand, field)

    def run(scope: Scope) -> Any:
        value = operand(scope)
        if isinstance(value, Optional):
            return _of_optional(value, field)
        if isinstance(value, dict):
            if field in value:
                found = value[field]
                return found() if callable(found) else found
            raise EvalError(f"no such key: {field}")
        raise EvalError("no such overload")

    def run_optional(scope: Scope) -> Any:
        value = operand(scope)
        value = value if isinstance(value, Optional) else Optional(value, True)
        return _of_optional(value, field)

    return run_optional if node.optional else run


def _of_optional(value: Optional, key: Any) -> Optional:
    inner = value.value
    if not value.present:
        return NONE
    if isinstance(inner, dict):
        return Optional(inner[key], True) if key in inner else NONE
    if isinstance(inner, list) and isinstance(key, int):
        return Optional(inner[key], True) if 0 <= key < len(inner) else NONE
    raise EvalError("no such overload")


def _has(operand: Code, field: str) -> Code:
    def run(scope: Scope) -> Any:
        value = operand(scope)
        if isinstance(value, Optional):
            return value.present and isinstance(value.value, dict) and field in value.value
        if not isinstance(value, dict):
            raise EvalError("no such overload")
        return field in value

    return run


def _list(node: ListNode) -> Code:
    items = [(code_of(item), optional) for item, optional in node.items]

    def run(scope: Scope) -> Any:
        found = []
        for item, optional in items:
            value = item(scope)
            if not optional:
                found.append(value)
            elif value.present:
                found.append(value.value)
        return found

    return run


def _map(node: MapNode) -> Code:
    entries = [(code_of(key), code_of(value), optional) for key, value, optional in node.entries]

    def run(scope: Scope) -> Any:
        found = {}
        for key, value, optional in entries:
            made = value(scope)
            if not optional:
                found[key(scope)] = made
            elif made.present:
                found[key(scope)] = made.value
        return found

    return run


def _struct(node: StructNode) -> Code:
    fields = [(unescaped(name), code_of(value)) for name, value in node.fields]
    return lambda scope: {name: value(scope) for name, value in fields}


def _call(node: Call) -> Code:
    function, arguments = node.function, [code_of(each) for each in node.arguments]
    match function:
        case "_&&_" | "_||_":
            return _logical(arguments[0], arguments[1], function == "_||_")
        case "_?_:_":
            return _conditional(*arguments)
        case "!_":
            return _not(arguments[0])
        case "-_":
            return lambda scope: negate(arguments[0](scope))
        case "_[_]" | "_[?_]":
            return _lifted(node.kind, _index(arguments[0], arguments[1], function == "_[?_]"))
        case "or" | "orValue" if node.target is not None:
            return _or(code_of(node.target), arguments[0], function == "orValue")
    if function in BINARY:
        return _binary(BINARY[function], arguments[0], arguments[1])
    if node.target is not None:
        arguments = [code_of(node.target), *arguments]
    return _function(FUNCTIONS[function], arguments)


def _function(function: Callable[..., Any], arguments: list[Code]) -> Code:
    def run(scope: Scope) -> Any:
        scope["%budget"].take()
        values = [argument(scope) for argument in arguments]
        try:
            return function(*values)
        except (TypeError, AttributeError):
            raise EvalError("no such overload") from None

    return run


def _binary(operate: Callable[[Any, Any], Any], left: Code, right: Code) -> Code:
    def run(scope: Scope) -> Any:
        scope["%budget"].take()
        return operate(left(scope), right(scope))

    return run


def _logical(left: Code, right: Code, decisive: bool) -> Code:
    """One side can decide whatever becomes of the other, errors included."""

    def run(scope: Scope) -> Any:
        try:
            first = left(scope)
            if not isinstance(first, bool):
                raise EvalError("no such overload")
        except CostExceeded:
            raise
        except EvalError:
            if right(scope) is decisive:
                return decisive
            raise
        if first is decisive:
            return decisive
        second = right(scope)
        if not isinstance(second, bool):
            raise EvalError("no such overload")
        return second

    return run


def _conditional(condition: Code, first: Code, second: Code) -> Code:
    def run(scope: Scope) -> Any:
        chosen = condition(scope)
        if not isinstance(chosen, bool):
            raise EvalError("no such overload")
        return first(scope) if chosen else second(scope)

    return run


def _not(operand: Code) -> Code:
    def run(scope: Scope) -> Any:
        value = operand(scope)
        if not isinstance(value, bool):
            raise EvalError("no such overload")
        return not value

    return run


def _or(left: Code, right: Code, unwrapped: bool) -> Code:
    def run(scope: Scope) -> Any:
        value = left(scope)
        if not isinstance(value, Optional):
            raise EvalError("no such overload")
        if value.present:
            return value.value if unwrapped else value
        return right(scope)

    return run


def _index(operand: Code, index: Code, optional: bool) -> Code:
    def run(scope: Scope) -> Any:
        value, key = operand(scope), index(scope)
        if optional or isinstance(value, Optional):
            return _of_optional(value if isinstance(value, Optional) else Optional(value, True), key)
        if isinstance(value, dict):
            if isinstance(key, float) and key.is_integer():
                key = int(key)
            if key in value:
                return value[key]
            raise EvalError(f"no such key: {key}")
        if isinstance(value, list) and isinstance(key, (int, float)) and not isinstance(key, bool):
            if not float(key).is_integer():
                raise EvalError(f"unsupported index value: {key}")
            if 0 <= key < len(value):
                return value[int(key)]
            raise EvalError(f"index out of bounds: {int(key)}")
        raise EvalError("no such overload")

    return run


# --- macros


def _macro(node: Macro) -> Code:
    target = code_of(node.target)
    bodies = [code_of(each) for each in node.arguments]
    names = node.variables
    if node.function in ("optMap", "optFlatMap"):
        return _opt_map(target, names[0], bodies[0], flat=node.function == "optFlatMap")
    if node.function == "sortBy":
        return _sort_by(target, names[0], bodies[0])
    loop = _Loop(target, names)
    match node.function:
        case "all":
            return _quantified(loop, bodies[0], decisive=False)
        case "exists":
            return _quantified(loop, bodies[0], decisive=True)
        case "exists_one" | "existsOne":
            return lambda scope: sum(1 for _ in loop.over(scope) if _true(bodies[0](scope))) == 1
        case "filter":
            return lambda scope: [scope[names[0]] for _ in loop.over(scope) if _true(bodies[0](scope))]
        case "map" | "transformList":
            return _mapped(loop, bodies)
        case "transformMap":
            return _transformed(loop, bodies)
    raise AssertionError(node.function)


def _true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EvalError("no such overload")
    return value


class _Loop:
    """Runs over a list's items or a map's keys, or with two variables over index or key and value."""

    def __init__(self, target: Code, names: list[str]) -> None:
        self._target = target
        self._names = names

    def over(self, scope: Scope) -> Any:
        value = self._target(scope)
        if not isinstance(value, (list, dict)):
            raise EvalError("no such overload")
        pairs: Any = enumerate(value) if isinstance(value, list) else value.items()
        names, budget = self._names, scope["%budget"]
        outer = {name: scope.get(name, _ABSENT) for name in names}
        try:
            for key, item in pairs:
                budget.take()
                if len(names) == 1:
                    scope[names[0]] = item if isinstance(value, list) else key
                else:
                    scope[names[0]], scope[names[1]] = key, item
                yield key
        finally:
            for name, before in outer.items():
                if before is _ABSENT:
                    scope.pop(name, None)
                else:
                    scope[name] = before


def _quantified(loop: _Loop, body: Code, *, decisive: bool) -> Code:
    def run(scope: Scope) -> Any:
        problem: EvalError | None = None
        for _ in loop.over(scope):
            try:
                if _true(body(scope)) is decisive:
                    return decisive
            except CostExceeded:
                raise
            except EvalError as error:
                problem = error
        if problem is not None:
            raise problem
        return not decisive

    return run


def _mapped(loop: _Loop, bodies: list[Code]) -> Code:
    if len(bodies) == 1:
        return lambda scope: [bodies[0](scope) for _ in loop.over(scope)]
    return lambda scope: [bodies[1](scope) for _ in loop.over(scope) if _true(bodies[0](scope))]


def _transformed(loop: _Loop, bodies: list[Code]) -> Code:
    if len(bodies) == 1:
        return lambda scope: {key: bodies[0](scope) for key in loop.over(scope)}
    return lambda scope: {key: bodies[1](scope) for key in loop.over(scope) if _true(bodies[0](scope))}


def _opt_map(target: Code, name: str, body: Code, *, flat: bool) -> Code:
    def run(scope: Scope) -> Any:
        value = target(scope)
        if not isinstance(value, Optional):
            raise EvalError("no such overload")
        if not value.present:
            return NONE
        made = body({**scope, name: value.value})
        return made if flat else Optional(made, True)

    return run


def _compare(one: tuple[Any, Any], other: tuple[Any, Any]) -> int:
    return 0 if equal(one[0], other[0]) else -1 if less(one[0], other[0]) else 1


_BY_KEY = cmp_to_key(_compare)


def _sort_by(target: Code, name: str, body: Code) -> Code:
    def run(scope: Scope) -> Any:
        keyed = [(body({**scope, name: item}), item) for item in target(scope)]
        return [item for _, item in sorted(keyed, key=_BY_KEY)]

    return run
