"""Merging what an agent reports into what the store has: pod status and node conditions.

An agent owns most of a pod's status, but not all: conditions of other writers (readiness gates, the
eviction API's DisruptionTarget), the nominated node and the QoS class stay. `lastTransitionTime` moves
only with the status it belongs to. A pod that ended stays ended.
"""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object

_AGENTS_CONDITIONS = frozenset(
    {
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
        "PodResizePending",
        "PodResizeInProgress",
    }
)
_OTHERS_FIELDS = ("qosClass", "nominatedNodeName", "resourceClaimStatuses")
_TERMINAL = ("Succeeded", "Failed")


def pod_status(stored: Object, reported: Object) -> Object | None:
    """The status to write, or None where nothing changes."""
    if stored.get("phase") in _TERMINAL and reported.get("phase") != stored["phase"]:
        return None
    merged = dict(reported)
    for field in _OTHERS_FIELDS:
        if field in stored:
            merged[field] = stored[field]
    merged["conditions"] = _conditions(stored.get("conditions", []), reported.get("conditions", []))
    if not merged["conditions"]:
        del merged["conditions"]
    return None if merged == stored else merged


def _conditions(stored: list[Object], reported: list[Object]) -> list[Object]:
    before = {condition["type"]: condition for condition in stored}
    merged = [_keep_transition(before.get(condition["type"]), condition) for condition in reported]
    told = {condition["type"] for condition in reported}
    merged += [
        condition
        for condition in stored
        if condition["type"] not in told
        and (condition["type"] not in _AGENTS_CONDITIONS or condition["type"] == "PodScheduled")
    ]
    return merged


def _keep_transition(before: Object | None, now: Object) -> Object:
    if before is None or before.get("status") != now.get("status"):
        return now
    moment = before.get("lastTransitionTime")
    if moment is None or moment == now.get("lastTransitionTime"):
        return now
    return {**now, "lastTransitionTime": moment}


def node_conditions(stored: list[Object], reported: list[Object], now: str) -> tuple[list[Object], bool]:
    """The conditions to write at `now` and whether any of them says something new."""
    before = {condition["type"]: condition for condition in stored}
    told: dict[str, Object] = {}
    changed = False
    for condition in reported:
        old = before.get(condition["type"])
        same = old is not None and old.get("status") == condition["status"]
        changed = changed or not same or not _says_the_same(old, condition)
        told[condition["type"]] = {
            "type": condition["type"],
            "status": condition["status"],
            "lastHeartbeatTime": now,
            "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
            "reason": condition.get("reason", ""),
            "message": condition.get("message", ""),
        }
    merged = [told.pop(condition["type"], condition) for condition in stored]
    merged.extend(told.values())
    return merged, changed


def _says_the_same(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    return old is not None and all(
        old.get(field, "") == new.get(field, "") for field in ("status", "reason", "message")
    )
