"""Kubernetes' quantities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.api.cel.errors import EvalError
from cluster.api.quantity import Quantity, QuantityError, parse

_BILLION = 10**9


def _quantity(text: Any) -> Quantity:
    if isinstance(text, Quantity):
        return text
    try:
        return parse(str.strip(text))
    except QuantityError as error:
        raise EvalError(str(error)) from None


def _is_quantity(text: Any) -> bool:
    try:
        parse(str.strip(text))
    except QuantityError:
        return False
    return True


def _other(value: Any) -> Quantity:
    return Quantity.of(value) if isinstance(value, int) else value


def _nanos(value: Any) -> int:
    whole: int = value.nanos
    return whole


def _as_integer(value: Any) -> int:
    nanos = _nanos(value)
    if nanos % _BILLION:
        raise EvalError("cannot convert value to integer")
    return nanos // _BILLION


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "quantity": _quantity,
    "isQuantity": _is_quantity,
    "isInteger": lambda value: not _nanos(value) % _BILLION,
    "asInteger": _as_integer,
    "asApproximateFloat": lambda value: _nanos(value) / _BILLION,
    "sign": lambda value: (_nanos(value) > 0) - (_nanos(value) < 0),
    "add": lambda left, right: left + _other(right),
    "sub": lambda left, right: left - _other(right),
}
