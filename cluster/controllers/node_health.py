"""What a node's silence and conditions mean: pure tables and functions of the node lifecycle controller."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api.objects import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

_TAINT_OF: tuple[tuple[str, str, str], ...] = (
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
)
"""(condition, status, key of the NoSchedule taint that says so)."""
_OWN_KEYS = frozenset(key for _, _, key in _TAINT_OF) | {UNSCHEDULABLE}
_EVICTION_KEYS = {"False": NOT_READY, "Unknown": UNREACHABLE}
_JUDGED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def readiness(node: Object) -> str:
    """Status of the Ready condition; empty where there is none: a node that has just been created."""
    for condition in node.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            return str(condition["status"])
    return ""


def silent_conditions(node: Object, now: str) -> list[Object] | None:
    """The conditions of a node that has not been heard of for too long; None where they say so already."""
    conditions: list[Object] = list(node.get("status", {}).get("conditions", ()))
    places = {condition["type"]: i for i, condition in enumerate(conditions)}
    changed = False
    for type_ in _JUDGED:
        if type_ not in places:
            conditions.append(_never_posted(type_, node, now))
            changed = True
        elif conditions[places[type_]]["status"] != "Unknown":
            conditions[places[type_]] = {
                **conditions[places[type_]],
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": now,
            }
            changed = True
    return conditions if changed else None


def _never_posted(type_: str, node: Object, now: str) -> Object:
    return {
        "type": type_,
        "status": "Unknown",
        "reason": "NodeStatusNeverUpdated",
        "message": "Kubelet never posted node status.",
        "lastHeartbeatTime": node["metadata"].get("creationTimestamp", now),
        "lastTransitionTime": now,
    }


def no_schedule_taints(node: Object, now: str) -> list[Object] | None:
    """All taints of the node with the NoSchedule ones as its conditions ask for; None if they are right."""
    conditions = node.get("status", {}).get("conditions", ())
    status = {condition["type"]: condition["status"] for condition in conditions}
    wanted = [key for type_, value, key in _TAINT_OF if status.get(type_) == value]
    if "Ready" not in status:
        # Admission put this taint on the new node; it stays until the node has said how it is.
        wanted += [
            taint["key"]
            for taint in node["spec"].get("taints", ())
            if taint["key"] == NOT_READY and taint["effect"] == "NoSchedule"
        ]
    if node["spec"].get("unschedulable"):
        wanted.append(UNSCHEDULABLE)
    present: list[Object] = list(node["spec"].get("taints", ()))
    kept = [
        taint
        for taint in present
        if taint["effect"] != "NoSchedule" or taint["key"] not in _OWN_KEYS or taint["key"] in wanted
    ]
    held = [taint["key"] for taint in kept if taint["effect"] == "NoSchedule"]
    added = [_taint(key, "NoSchedule", now) for key in wanted if key not in held]
    return kept + added if added or len(kept) != len(present) else None


def eviction_taint(node: Object) -> str:
    """Key of the NoExecute taint that the node's readiness asks for; empty for a ready node."""
    return _EVICTION_KEYS.get(readiness(node), "")


def with_eviction_taint(taints: Sequence[Object], key: str, now: str) -> list[Object] | None:
    """The taints with exactly this NoExecute taint of the two (empty: none); None if that is so."""
    ours = (NOT_READY, UNREACHABLE)
    kept = [t for t in taints if t["effect"] != "NoExecute" or t["key"] not in ours or t["key"] == key]
    there = any(t["effect"] == "NoExecute" and t["key"] == key for t in kept)
    if key and not there:
        return [*kept, _taint(key, "NoExecute", now)]
    return kept if len(kept) != len(taints) else None


def has_eviction_taint(node: Object) -> bool:
    return any(
        taint["effect"] == "NoExecute" and taint["key"] in (NOT_READY, UNREACHABLE)
        for taint in node["spec"].get("taints", ())
    )


def _taint(key: str, effect: str, now: str) -> Object:
    return {"key": key, "effect": effect, "timeAdded": now}
