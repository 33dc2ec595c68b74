"""Semantic versions, and the comparisons that they share with quantities."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cluster.api.cel.errors import EvalError
from cluster.api.cel.values import Semver

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)
_LOOSE = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)")


def _parsed(text: Any, normalize: bool) -> Semver | None:
    if normalize and (loose := _LOOSE.fullmatch(text)):
        major, minor, patch, rest = loose.groups()
        text = f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}{rest}"
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    parts = match[4].split(".") if match[4] else []
    pre = tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)
    return Semver((int(match[1]), int(match[2]), int(match[3])), pre)


def _semver(text: Any, normalize: Any = False) -> Semver:
    found = _parsed(text, normalize)
    if found is None:
        raise EvalError(f'invalid semver "{text}"')
    return found


def _rank(value: Any) -> Any:
    """Something with an order: a version without a pre-release is above all of its pre-releases."""
    if isinstance(value, Semver):
        return value.order, (0, *value.pre) if value.pre else (1,)
    return value


def _compare(left: Any, right: Any) -> int:
    if type(left) is not type(right):
        raise TypeError
    one, other = _rank(left), _rank(right)
    return -1 if one < other else 1 if other < one else 0


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "semver": _semver,
    "isSemver": lambda text, normalize=False: _parsed(text, normalize) is not None,
    "major": lambda version: version.order[0],
    "minor": lambda version: version.order[1],
    "patch": lambda version: version.order[2],
    "compareTo": _compare,
    "isLessThan": lambda left, right: _compare(left, right) < 0,
    "isGreaterThan": lambda left, right: _compare(left, right) > 0,
}
