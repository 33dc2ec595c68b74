"""Taints and tolerations: which of a node's taints a pod puts up with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty key with Exists matches every taint, an empty effect every effect."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    key = toleration.get("key", "")
    if key and key != taint["key"]:
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(key) and bool(toleration.get("value", "") == taint.get("value", ""))
        case "Gt" | "Lt" as operator:
            return _compares(operator, taint.get("value", ""), toleration.get("value", ""))
    return False


def _compares(operator: str, taint: str, toleration: str) -> bool:
    try:
        found, bound = int(taint), int(toleration)
    except ValueError:
        return False
    return found > bound if operator == "Gt" else found < bound


def untolerated(
    tolerations: Iterable[Mapping[str, Any]], taints: Iterable[Mapping[str, Any]], effects: tuple[str, ...]
) -> Mapping[str, Any] | None:
    """The first taint of these effects that no toleration covers."""
    held = tuple(tolerations)
    for taint in taints:
        if taint["effect"] in effects and not any(tolerates(t, taint) for t in held):
            return taint
    return None
