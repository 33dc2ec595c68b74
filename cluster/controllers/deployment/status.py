"""A Deployment's status: counts over its ReplicaSets and the Available, Progressing, ReplicaFailure
conditions, with the rule by which a rollout runs out of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cluster.api.objects import Object, timestamp
from cluster.controllers.deployment.sizes import bounds, status_count, wanted
from cluster.reconcile.conditions import find, with_condition, without_condition
from cluster.reconcile.pods import moment

NO_DEADLINE = 2**31 - 1


def has_deadline(deployment: Object) -> bool:
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != NO_DEADLINE


def condition(type: str, status: str, reason: str, message: str, now: datetime) -> Object:
    return {
        "type": type,
        "status": status,
        "lastUpdateTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
        "reason": reason,
        "message": message,
    }


def progressing(status: str, reason: str, message: str, now: datetime) -> Object:
    return condition("Progressing", status, reason, message, now)


def counted(deployment: Object, new: Object | None, olds: Sequence[Object], now: datetime) -> Object:
    """Counts and the Available condition; the other conditions as they are."""
    sets = [*olds, *([new] if new is not None else [])]
    replicas = sum(status_count(each, "replicas") for each in sets)
    available = sum(status_count(each, "availableReplicas") for each in sets)
    present = deployment.get("status", {})
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": replicas,
        "updatedReplicas": status_count(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(status_count(each, "readyReplicas") for each in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted_total(sets) - available),
    }
    status: Object = {name: count for name, count in counts.items() if count}
    if all("terminatingReplicas" in each.get("status", {}) for each in sets):
        status["terminatingReplicas"] = sum(status_count(each, "terminatingReplicas") for each in sets)
    if present.get("collisionCount") is not None:
        status["collisionCount"] = present["collisionCount"]
    status["conditions"] = with_condition(
        present.get("conditions") or (), _availability(deployment, available, now)
    )
    return status


def wanted_total(sets: Sequence[Object]) -> int:
    """spec.replicas of all sets together."""
    return sum(each["spec"].get("replicas", 1) for each in sets)


def _availability(deployment: Object, available: int, now: datetime) -> Object:
    if available >= wanted(deployment) - bounds(deployment)[1]:
        return condition(
            "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    return condition(
        "Available",
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
        now,
    )


def rolled(deployment: Object, new: Object | None, olds: Sequence[Object], now: datetime) -> Object:
    """The whole status while a rollout may be going on."""
    status = counted(deployment, new, olds, now)
    held: list[Object] = status["conditions"]
    current = find(deployment.get("status", {}).get("conditions") or (), "Progressing")
    if not has_deadline(deployment):
        held = without_condition(held, "Progressing")
    elif not _finished_before(status, current):
        held = _progress(deployment, status, held, new, now)
    held = without_condition(held, "ReplicaFailure")
    failure = _failure([*([new] if new is not None else []), *olds], deployment, now)
    status["conditions"] = [*held, failure] if failure is not None else held
    return status


def _finished_before(status: Object, current: Object | None) -> bool:
    all_updated = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    return all_updated and current is not None and current["reason"] == "NewReplicaSetAvailable"


def _progress(
    deployment: Object, status: Object, held: list[Object], new: Object | None, now: datetime
) -> list[Object]:
    name = deployment["metadata"]["name"]
    who = f'ReplicaSet "{new["metadata"]["name"]}"' if new is not None else f'Deployment "{name}"'
    if is_complete(deployment, status):
        message = f"{who} has successfully progressed."
        return with_condition(held, progressing("True", "NewReplicaSetAvailable", message, now))
    if _has_progressed(deployment.get("status", {}), status):
        moved = progressing("True", "ReplicaSetUpdated", f"{who} is progressing.", now)
        current = find(held, "Progressing")
        if current is not None and current["status"] == "True":
            moved["lastTransitionTime"] = current["lastTransitionTime"]
        return [*without_condition(held, "Progressing"), moved]
    if _is_timed_out(deployment, held, now):
        message = f"{who} has timed out progressing."
        return with_condition(held, progressing("False", "ProgressDeadlineExceeded", message, now))
    return held


def is_complete(deployment: Object, status: Object) -> bool:
    total = wanted(deployment)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status.get(name, 0) == total for name in counts) and status.get(
        "observedGeneration", 0
    ) >= deployment["metadata"].get("generation", 0)


def _has_progressed(before: Object, after: Object) -> bool:
    def old_pods(status: Object) -> int:
        count: int = status.get("replicas", 0) - status.get("updatedReplicas", 0)
        return count

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_pods(after) < old_pods(before) or any(
        after.get(name, 0) > before.get(name, 0) for name in grown
    )


def _is_timed_out(deployment: Object, held: Sequence[Object], now: datetime) -> bool:
    current = find(held, "Progressing")
    if current is None or current["reason"] == "NewReplicaSetAvailable":
        return False
    return current["reason"] == "ProgressDeadlineExceeded" or _deadline(deployment, current) < now


def _deadline(deployment: Object, current: Object) -> datetime:
    seconds = deployment["spec"]["progressDeadlineSeconds"]
    return moment(current["lastUpdateTime"]) + timedelta(seconds=seconds)


def next_look(deployment: Object, now: datetime) -> float | None:
    """Seconds until the rollout would have run out of time."""
    status = deployment.get("status", {})
    current = find(status.get("conditions") or (), "Progressing")
    if not has_deadline(deployment) or current is None or is_complete(deployment, status):
        return None
    if current["reason"] == "ProgressDeadlineExceeded":
        return None
    return max(0.0, (_deadline(deployment, current) - now).total_seconds()) + 1.0


def _failure(sets: Sequence[Object], deployment: Object, now: datetime) -> Object | None:
    for each in sets:
        found = find(each.get("status", {}).get("conditions") or (), "ReplicaFailure")
        if found is None:
            continue
        present = find(deployment.get("status", {}).get("conditions") or (), "ReplicaFailure")
        if present is not None and present["reason"] == found["reason"]:
            return present
        return condition("ReplicaFailure", found["status"], found["reason"], found["message"], now) | {
            "lastTransitionTime": found["lastTransitionTime"]
        }
    return None
