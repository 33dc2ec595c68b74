"""Operators: numbers with overflow, times, text and lists; comparisons and membership."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cluster.api.cel.errors import EvalError
from cluster.api.cel.values import UInt, equal, is_number, less

_OVERLOAD = "no such overload"


def _ranged(value: int, unsigned: bool) -> int:
    if unsigned:
        if not 0 <= value < 2**64:
            raise EvalError("unsigned integer overflow")
        return UInt(value)
    if not -(2**63) <= value < 2**63:
        raise EvalError("integer overflow")
    return value


def _unsigned(left: Any, right: Any) -> bool:
    if isinstance(left, UInt) is not isinstance(right, UInt):
        raise EvalError(_OVERLOAD)
    return isinstance(left, UInt)


def negate(value: Any) -> Any:
    if not is_number(value) or isinstance(value, UInt):
        raise EvalError(_OVERLOAD)
    return -value if isinstance(value, float) else _ranged(-value, False)


def _add(left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        if isinstance(left, float) or isinstance(right, float):
            return float(left) + float(right)
        return _ranged(left + right, _unsigned(left, right))
    timed = (datetime, timedelta)
    if isinstance(left, timed) and isinstance(right, timed):
        if isinstance(left, datetime) and isinstance(right, datetime):
            raise EvalError(_OVERLOAD)
        try:
            return right + left if isinstance(right, datetime) else left + right  # type: ignore[operator]
        except OverflowError:
            raise EvalError("timestamp overflow") from None
    if type(left) is type(right) and isinstance(left, (str, bytes, list)):
        return left + right
    raise EvalError(_OVERLOAD)


def _subtract(left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        if isinstance(left, float) or isinstance(right, float):
            return float(left) - float(right)
        return _ranged(left - right, _unsigned(left, right))
    if isinstance(left, datetime) and isinstance(right, (datetime, timedelta)):
        return left - right
    if isinstance(left, timedelta) and isinstance(right, timedelta):
        return left - right
    raise EvalError(_OVERLOAD)


def _multiply(left: Any, right: Any) -> Any:
    _check_numbers(left, right)
    if isinstance(left, float) or isinstance(right, float):
        return float(left) * float(right)
    return _ranged(left * right, _unsigned(left, right))


def _divide(left: Any, right: Any) -> Any:
    _check_numbers(left, right)
    if isinstance(left, float) or isinstance(right, float):
        if not right:
            return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)
        return float(left) / float(right)
    if not right:
        raise EvalError("division by zero")
    quotient = abs(left) // abs(right)
    return _ranged(quotient if (left < 0) is (right < 0) else -quotient, _unsigned(left, right))


def _modulo(left: Any, right: Any) -> Any:
    _check_numbers(left, right)
    if isinstance(left, float) or isinstance(right, float):
        raise EvalError(_OVERLOAD)
    if not right:
        raise EvalError("modulus by zero")
    remainder = abs(left) % abs(right)
    return _ranged(-remainder if left < 0 else remainder, _unsigned(left, right))


def _check_numbers(left: Any, right: Any) -> None:
    if not is_number(left) or not is_number(right):
        raise EvalError(_OVERLOAD)


def _in(value: Any, container: Any) -> bool:
    if isinstance(container, list):
        return any(equal(value, item) for item in container)
    if isinstance(container, dict):
        return isinstance(value, (str, int, float, bool)) and value in container
    raise EvalError(_OVERLOAD)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "_+_": _add,
    "_-_": _subtract,
    "_*_": _multiply,
    "_/_": _divide,
    "_%_": _modulo,
    "_==_": equal,
    "_!=_": lambda left, right: not equal(left, right),
    "_<_": less,
    "_>_": lambda left, right: less(right, left),
    "_<=_": lambda left, right: less(left, right) or equal(left, right),
    "_>=_": lambda left, right: less(right, left) or equal(left, right),
    "_in_": _in,
}
