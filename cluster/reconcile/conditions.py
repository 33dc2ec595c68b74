"""status.conditions as lists of values: set, remove, and the rule when a transition time moves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cluster.api.objects import Object, timestamp


def find(conditions: Sequence[Object], type: str) -> Object | None:
    for condition in conditions:
        if condition["type"] == type:
            return condition
    return None


def new(type: str, status: str, reason: str, message: str, now: datetime) -> Object:
    """A condition that changed just now."""
    return {
        "type": type,
        "status": status,
        "lastTransitionTime": timestamp(now),
        "reason": reason,
        "message": message,
    }


def with_condition(conditions: Sequence[Object], condition: Object) -> list[Object]:
    """The list with `condition` at its end, in place of an earlier one of its type. An equal status and
    reason leave the list as it is; an equal status alone keeps the transition time."""
    present = find(conditions, condition["type"])
    if present is not None:
        if present["status"] == condition["status"] and present.get("reason") == condition.get("reason"):
            return list(conditions)
        if present["status"] == condition["status"]:
            condition = condition | {"lastTransitionTime": present["lastTransitionTime"]}
    return [*without_condition(conditions, condition["type"]), condition]


def without_condition(conditions: Sequence[Object], type: str) -> list[Object]:
    return [condition for condition in conditions if condition["type"] != type]
