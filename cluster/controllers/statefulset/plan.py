"""The next steps of a StatefulSet: pure.

OrderedReady takes one step at a time: pod n is created when all before it are ready, and deleted when all
after it are gone. Parallel takes all of them at once. Updates go from the highest ordinal down to the
partition, at most maxUnavailable at a time, and wait for each pod to be healthy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cluster.api.objects import Object
from cluster.controllers.deployment.sizes import scaled
from cluster.controllers.statefulset.identity import first_ordinal, ordinal_of, revision_of
from cluster.reconcile import pods


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    stateful_set: Object
    by_ordinal: Mapping[int, Object]
    current: str
    """Name of the revision that pods had before the present update."""
    update: str
    """Name of the revision of the present template."""
    now: datetime

    @property
    def spec(self) -> Object:
        spec: Object = self.stateful_set["spec"]
        return spec

    @property
    def ordered(self) -> bool:
        return bool(self.spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    @property
    def wanted(self) -> range:
        start = first_ordinal(self.stateful_set)
        return range(start, start + self.spec.get("replicas", 1))

    @property
    def rolling(self) -> Object | None:
        """spec.updateStrategy.rollingUpdate; None for OnDelete."""
        strategy = self.spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return None
        rolling: Object = strategy.get("rollingUpdate") or {}
        return rolling

    def healthy(self, pod: Object) -> bool:
        """Running, ready long enough, and not on its way out."""
        min_ready_s = self.spec.get("minReadySeconds", 0)
        available = pods.available_in(pod, min_ready_s, self.now) == 0
        return is_running_and_ready(pod) and available and "deletionTimestamp" not in pod["metadata"]


@dataclass(slots=True)
class Plan:
    create: list[tuple[int, str]] = field(default_factory=list)
    """(ordinal, revision name)."""
    delete: list[Object] = field(default_factory=list)
    recreate: list[Object] = field(default_factory=list)
    """Pods that ended: deleted, to be created again."""
    condemned: list[Object] = field(default_factory=list)
    """Pods beyond the wanted ordinals, deleted or not yet."""


def is_running_and_ready(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and pods.is_ready(pod)


def plan(view: View) -> Plan:
    result = Plan()
    wanted = view.wanted
    result.condemned = sorted(
        (pod for ordinal, pod in view.by_ordinal.items() if ordinal not in wanted),
        key=ordinal_of,
        reverse=True,
    )
    if not _fill(view, result) or not _shrink(view, result) or view.rolling is None:
        return result
    if not result.create and not result.recreate:
        _update(view, view.rolling, result)
    return result


def revision_for(view: View, ordinal: int) -> str:
    """The revision that a missing pod is created from."""
    rolling = view.rolling
    if rolling is None:
        return view.update
    start = first_ordinal(view.stateful_set)
    partition = rolling.get("partition") or 0
    if ordinal < start + partition:
        return view.current
    return view.update


def _fill(view: View, result: Plan) -> bool:
    """Plans what is missing. False if an ordered set has to wait before anything else is done."""
    for ordinal in view.wanted:
        pod = view.by_ordinal.get(ordinal)
        if pod is None:
            result.create.append((ordinal, revision_for(view, ordinal)))
            if view.ordered:
                return False
            continue
        if pods.is_finished(pod):
            if "deletionTimestamp" not in pod["metadata"]:
                result.recreate.append(pod)
            if view.ordered:
                return False
            continue
        if view.ordered and not view.healthy(pod):
            return False
    return True


def _shrink(view: View, result: Plan) -> bool:
    """Plans the condemned ones, the highest first. False if an ordered set has to wait."""
    unhealthy = _first_unhealthy(view)
    for pod in result.condemned:
        if "deletionTimestamp" in pod["metadata"]:
            if view.ordered:
                return False
            continue
        if view.ordered and not view.healthy(pod) and pod is not unhealthy:
            return False
        result.delete.append(pod)
        if view.ordered:
            return False
    return True


def _first_unhealthy(view: View) -> Object | None:
    for ordinal in sorted(view.by_ordinal):
        if not view.healthy(view.by_ordinal[ordinal]):
            return view.by_ordinal[ordinal]
    return None


def _update(view: View, rolling: Object, result: Plan) -> None:
    wanted = view.wanted
    limit = max(1, scaled(rolling.get("maxUnavailable") or 1, len(wanted), up=False))
    unavailable = sum(not view.healthy(pod) for o, pod in view.by_ordinal.items() if o in wanted)
    for ordinal in reversed(wanted[rolling.get("partition") or 0 :]):
        pod = view.by_ordinal[ordinal]
        terminating = "deletionTimestamp" in pod["metadata"]
        if revision_of(pod) != view.update and not terminating:
            healthy = view.healthy(pod)
            if healthy and unavailable >= limit:
                return
            result.delete.append(pod)
            unavailable += healthy
            if limit == 1:
                return
        elif not view.healthy(pod) and limit == 1:
            return


def status_of(view: View, mine: Sequence[Object]) -> Object:
    """Counts and revision names."""
    counts = dict.fromkeys(
        ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"), 0
    )
    for pod in mine:
        counts["replicas"] += 1
        if is_running_and_ready(pod):
            counts["readyReplicas"] += 1
            min_ready_s = view.spec.get("minReadySeconds", 0)
            counts["availableReplicas"] += pods.available_in(pod, min_ready_s, view.now) == 0
        if "deletionTimestamp" not in pod["metadata"]:
            revision = revision_of(pod)
            counts["currentReplicas"] += revision == view.current
            counts["updatedReplicas"] += revision == view.update
    current = view.current
    replicas = len(view.wanted)
    finished = counts["updatedReplicas"] == counts["readyReplicas"] == counts["replicas"] == replicas
    if view.rolling is not None and finished:
        current = view.update
        counts["currentReplicas"] = counts["updatedReplicas"]
    present = view.stateful_set.get("status", {})
    status: Object = {
        "observedGeneration": view.stateful_set["metadata"].get("generation", 0),
        "collisionCount": present.get("collisionCount", 0),
        "currentRevision": current,
        "updateRevision": view.update,
        "replicas": counts["replicas"],
        "availableReplicas": counts["availableReplicas"],
    }
    for name in ("readyReplicas", "currentReplicas", "updatedReplicas"):
        if counts[name]:
            status[name] = counts[name]
    if present.get("conditions"):
        status["conditions"] = present["conditions"]
    return status
