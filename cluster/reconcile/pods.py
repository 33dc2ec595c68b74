"""What controllers ask of a pod: active, ready, available, and which one is the least loss.

The ranking is ReplicaSet's: pods are deleted in the order unassigned before assigned, Pending before
Unknown before Running, not ready before ready, lower deletion cost, more siblings on the node, ready for
a shorter time, more restarts, younger. Times are compared by the logarithm of the age, with the uid as
tie-break, as Kubernetes does so that not all of the newest go at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cmp_to_key, lru_cache

from cluster.api.objects import Object, parse_timestamp

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


@lru_cache(maxsize=8192)
def moment(text: str) -> datetime:
    """`parse_timestamp`, remembered: the same few timestamps are read again and again."""
    return parse_timestamp(text)


def is_finished(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return "deletionTimestamp" not in pod["metadata"] and not is_finished(pod)


def is_terminating(pod: Object) -> bool:
    """Being deleted, and its containers may still run."""
    return "deletionTimestamp" in pod["metadata"] and not is_finished(pod)


def ready_condition(pod: Object) -> Object | None:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "Ready":
            found: Object = condition
            return found
    return None


def is_ready(pod: Object) -> bool:
    condition = ready_condition(pod)
    return condition is not None and condition["status"] == "True"


def ready_since(pod: Object) -> datetime | None:
    condition = ready_condition(pod)
    if condition is None or condition["status"] != "True":
        return None
    since = condition.get("lastTransitionTime")
    return moment(since) if since else None


def available_in(pod: Object, min_ready_s: int, now: datetime) -> float | None:
    """Seconds until a ready pod counts as available (0 if it does now); None for one that isn't ready."""
    condition = ready_condition(pod)
    if condition is None or condition["status"] != "True":
        return None
    if not min_ready_s:
        return 0.0
    since = condition.get("lastTransitionTime")
    if not since:
        return None
    return max(0.0, min_ready_s - (now - moment(since)).total_seconds())


def restarts(pod: Object) -> int:
    """The restarts of the container that restarted most."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def deletion_cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def by_deletion_rank(pods: Sequence[Object], related: Iterable[Object], now: datetime) -> list[Object]:
    """`pods` with those to be deleted first in front. `related`: the pods that count as siblings."""
    siblings: dict[str, int] = {}
    for pod in related:
        node = pod["spec"].get("nodeName", "")
        if node and is_active(pod):
            siblings[node] = siblings.get(node, 0) + 1

    def key(pod: Object) -> tuple[int, int, int, int, int]:
        node = pod["spec"].get("nodeName", "")
        return (
            1 if node else 0,
            _PHASE_ORDER.get(pod.get("status", {}).get("phase", "Pending"), 0),
            1 if is_ready(pod) else 0,
            deletion_cost(pod),
            -siblings.get(node, 0),
        )

    def compare(left: tuple[tuple[int, ...], Object], right: tuple[tuple[int, ...], Object]) -> int:
        if left[0] != right[0]:
            return -1 if left[0] < right[0] else 1
        return _compare_ages(left[1], right[1], now)

    ranked = sorted(((key(pod), pod) for pod in pods), key=cmp_to_key(compare))
    return [pod for _, pod in ranked]


def _compare_ages(left: Object, right: Object, now: datetime) -> int:
    ready_left, ready_right = ready_since(left), ready_since(right)
    if ready_left and ready_right and ready_left != ready_right:
        return _logarithmic(ready_left, ready_right, now) or _by_uid(left, right)
    if restarts(left) != restarts(right):
        return restarts(right) - restarts(left)
    created_left, created_right = (moment(pod["metadata"]["creationTimestamp"]) for pod in (left, right))
    if created_left != created_right:
        return _logarithmic(created_left, created_right, now) or _by_uid(left, right)
    return _by_uid(left, right)


def _by_uid(left: Object, right: Object) -> int:
    return -1 if left["metadata"]["uid"] < right["metadata"]["uid"] else 1


def _logarithmic(left: datetime, right: datetime, now: datetime) -> int:
    return _magnitude((now - left).total_seconds()) - _magnitude((now - right).total_seconds())


def _magnitude(age_s: float) -> int:
    return int(math.log2(age_s * 1e9)) if age_s > 0 else -1
