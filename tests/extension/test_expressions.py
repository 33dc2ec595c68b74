"""CEL as Kubernetes has it: values, errors, macros, libraries, checks against schemas."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api.cel import Budget, CompileError, CostExceeded, EvalError, compile_rule, compile_untyped
from cluster.api.cel.kinds import DYN, kind_of
from cluster.api.custom.types import root_type

SELF: dict[str, Any] = {"a": [2, 3], "name": "web", "n": 5, "m": {"k": "v"}, "odd-name": 1}


def run(text: str, **variables: Any) -> Any:
    return compile_untyped(text, ("self", *variables))({"self": SELF, **variables})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7.0 / 2.0", 3.5),
        ("dyn(1) == 1.0", True),
        ("'a' + 'b'", "ab"),
        ("true || 1 / 0 == 1", True),
        ("1 / 0 == 1 || true", True),
        ("self.n > 3 ? 'big' : 'small'", "big"),
        ("has(self.name) && !has(self.other)", True),
        ("self.a.all(x, x > 1)", True),
        ("self.a.exists(x, x == 3)", True),
        ("self.a.exists_one(x, x == 3)", True),
        ("self.a.map(x, x * 2)", [4, 6]),
        ("self.a.map(x, x > 2, x)", [3]),
        ("self.a.filter(x, x > 2)", [3]),
        ("self.a.all(i, v, v > i)", True),
        ("self.m.all(k, k == 'k')", True),
        ("self.m.transformMap(k, v, v + k)", {"k": "vk"}),
        ("self.a.sum() + self.a.max()", 8),
        ("[3, 1, 2].isSorted()", False),
        ("self.?missing.orValue(9)", 9),
        ("self.?name.hasValue()", True),
        ("self.a[?5].orValue(0)", 0),
        ("optional.of(1).optMap(x, x + 1).value()", 2),
        ("'a,b,c'.split(',').join('-')", "a-b-c"),
        ("'%s has %d at %.1f'.format(['x', 2, 1.25])", "x has 2 at 1.2"),
        ("'abc'.substring(1).upperAscii()", "BC"),
        ("'abc123'.find('[0-9]+')", "123"),
        ("size('é')", 1),
        ("'web'.matches('^w.b$')", True),
        ("type(self.n) == int", True),
        ("duration('1h30m') > duration('89m')", True),
        ("timestamp('2024-01-02T03:04:05Z').getHours()", 3),
        ("timestamp('2024-01-02T03:04:05Z') + duration('1h') > timestamp('2024-01-02T04:00:00Z')", True),
        ("quantity('1.5Gi').isGreaterThan(quantity('1Gi'))", True),
        ("quantity('100m').add(quantity('1')).compareTo(quantity('1100m'))", 0),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("ip('127.0.0.1').isLoopback() && isIP('::1') && !isIP('x')", True),
        ("cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", True),
        ("url('https://example.com:80/a').getHostname()", "example.com"),
        ("sets.contains([1, 2, 3], [3, 1])", True),
        ("semver('1.2.3-rc.1').isLessThan(semver('1.2.3'))", True),
        ("format.dns1123Label().validate('Bad').hasValue()", True),
        ("self.odd__dash__name", 1),
        ("'x' in {'x': 1} && 2 in [1, 2]", True),
        ("r'\\d' + \"\\n\" + '''q'''", "\\d\nq"),
        ("0x10 + 1", 17),
    ],
)  # fmt: skip
def test_expressions_have_values(text: str, value: Any) -> None:
    assert run(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.missing", "no such key: missing"),
        ("1 / 0", "division by zero"),
        ("self.a[7]", "index out of bounds: 7"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("self.name + 1", "no such overload"),
    ],
)
def test_evaluation_fails_as_in_cel_go(text: str, message: str) -> None:
    with pytest.raises(EvalError, match=f"^{message}$"):
        run(text)


def test_evaluation_is_bounded() -> None:
    """Nested loops over a list end when the steps are used up."""
    program = compile_untyped("self.all(x, self.all(y, self.all(z, x + y + z >= 0)))", ("self",))
    with pytest.raises(CostExceeded):
        program({"self": list(range(100))}, Budget(10_000))


SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "due": {"type": "string", "format": "date-time"},
        "names": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.z == 1", "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 1\n | ....^"),
        ("self.count + 'a' == ''", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.count.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("self.metadata.labels.a == ''", "undefined field 'labels'"),
        ("other", "undeclared reference to 'other' (in container '')"),
        ("self.count +", "ERROR: <input>:1:13: Syntax error: mismatched input '<EOF>'"),
        ("self.names.all(n, n)", "expected type 'bool' but found 'string'"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_evaluation(text: str, message: str) -> None:
    with pytest.raises(CompileError) as raised:
        compile_rule(text, {"self": kind_of(root_type(SCHEMA))})
    assert message in str(raised.value)


def test_fields_have_the_types_of_their_schema() -> None:
    """A whole number in a `number` field is a double, a date-time field a timestamp."""
    kind = kind_of(root_type(SCHEMA))
    value = {"self": {"share": 5, "due": "2024-01-02T03:04:05Z"}}
    assert compile_rule("self.share / 2.0", {"self": kind})(value) == 2.5
    assert compile_rule("self.due.getFullYear()", {"self": kind})(value) == 2024
    assert compile_rule("self.x", {"self": DYN}).uses == {"self"}
