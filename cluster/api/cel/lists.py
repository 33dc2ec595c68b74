"""Lists and sets: Kubernetes' list library, cel-go's list and set extensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from cluster.api.cel.arithmetic import BINARY
from cluster.api.cel.errors import EvalError
from cluster.api.cel.values import equal, less

_ADD = BINARY["_+_"]


def _sum(items: Any) -> Any:
    if not items:
        return 0
    total = items[0]
    for item in items[1:]:
        total = _ADD(total, item)
    if isinstance(total, (str, list)):
        raise EvalError("no such overload")
    return total


def _extreme(items: Any, name: str, better: Callable[[Any, Any], bool]) -> Any:
    if not items:
        raise EvalError(f"{name} called on empty list")
    best = items[0]
    for item in items[1:]:
        if better(item, best):
            best = item
    return best


def _is_sorted(items: Any) -> bool:
    return all(not less(after, before) for before, after in pairwise(items))


def _distinct(items: Any) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(equal(item, known) for known in found):
            found.append(item)
    return found


def _flatten(items: Any, depth: Any = 1) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth > 0:
            found += _flatten(item, depth - 1)
        else:
            found.append(item)
    return found


def _slice(items: Any, start: Any, end: Any) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise EvalError(f"cannot slice({start}, {end}), list is length {len(items)}")
    made: list[Any] = items[start:end]
    return made


def _sort(items: Any) -> list[Any]:
    order = cmp_to_key(lambda a, b: 0 if equal(a, b) else -1 if less(a, b) else 1)
    return sorted(items, key=order)


def _holds(container: Any, items: Any) -> bool:
    return all(any(equal(item, each) for each in container) for item in items)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": lambda items: _extreme(items, "min", less),
    "max": lambda items: _extreme(items, "max", lambda a, b: less(b, a)),
    "distinct": _distinct,
    "flatten": _flatten,
    "slice": _slice,
    "sort": _sort,
    "lists.range": lambda count: list(range(count)),
    "sets.contains": _holds,
    "sets.equivalent": lambda left, right: _holds(left, right) and _holds(right, left),
    "sets.intersects": lambda left, right: any(equal(a, b) for a in left for b in right),
}
