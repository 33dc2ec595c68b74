"""How many replicas a metric asks for: pure.

Pods without a metric, and pods too young for theirs to mean anything, are taken into account such that they
can only damp a change: as fully used when it would scale down, as idle when it would scale up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.reconcile.metrics import PodUsage
from cluster.reconcile.pods import is_finished, moment, ready_condition

CPU_INITIALIZATION = timedelta(minutes=5)
READINESS_DELAY = timedelta(seconds=30)


class NoRecommendation(Exception):
    """The metric can't be turned into a number of replicas; says why."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    up: Fraction
    down: Fraction

    def hold(self, ratio: Fraction) -> bool:
        """Too close to the target to act."""
        return 1 - self.down <= ratio <= 1 + self.up


@dataclass(frozen=True, slots=True)
class Groups:
    ready: int
    unready: list[str]
    missing: list[str]
    ignored: list[str]


def grouped(
    pods: Sequence[Object], measured: Mapping[str, PodUsage | None], now: datetime, *, cpu: bool
) -> Groups:
    """Sorts pods by what their metric is worth. `measured`: pod name → usage, None for other metrics."""
    groups = Groups(0, [], [], [])
    ready = 0
    for pod in pods:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") == "Failed":
            groups.ignored.append(name)
        elif pod.get("status", {}).get("phase") == "Pending":
            groups.unready.append(name)
        elif name not in measured:
            groups.missing.append(name)
        elif cpu and _is_too_young(pod, measured[name], now):
            groups.unready.append(name)
        else:
            ready += not is_finished(pod)
    return Groups(ready, groups.unready, groups.missing, groups.ignored)


def _is_too_young(pod: Object, usage: PodUsage | None, now: datetime) -> bool:
    condition, started = ready_condition(pod), pod["status"].get("startTime")
    if condition is None or not started or not condition.get("lastTransitionTime"):
        return True
    since = moment(condition["lastTransitionTime"])
    if moment(started) + CPU_INITIALIZATION > now:
        before = usage is not None and usage.at < since + timedelta(seconds=usage.window_s)
        return condition["status"] == "False" or before
    return condition["status"] == "False" and moment(started) + READINESS_DELAY > since


def request_of(pod: Object, resource: str, container: str = "") -> Fraction:
    """What the pod's containers (or one of them) request. Raises NoRecommendation."""
    total = Fraction(0)
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for each in [*spec["containers"], *sidecars]:
        if container and each["name"] != container:
            continue
        request = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if request is None:
            name = pod["metadata"]["name"]
            raise NoRecommendation(
                f"missing request for {resource} in container {each['name']} of Pod {name}"
            )
        total += Fraction(parse(request).milli(), 1000)
    return total


def from_usage(
    current: int,
    values: Mapping[str, Fraction],
    groups: Groups,
    targets: Mapping[str, Fraction],
    tolerances: Tolerances,
    full: Mapping[str, Fraction],
) -> tuple[int, Fraction]:
    """(replicas, ratio of use to target). `targets`: what each pod should use; `full`: what a pod without
    a metric is taken to use when the others ask to scale down."""
    usable = {n: v for n, v in values.items() if n not in groups.ignored and n not in groups.unready}
    if not usable:
        raise NoRecommendation("did not receive metrics for targeted pods (pods might be unready)")
    ratio = _ratio(usable, targets)
    up_with_unready = bool(groups.unready) and ratio > 1
    if not up_with_unready and not groups.missing:
        return (current if tolerances.hold(ratio) else math.ceil(ratio * groups.ready)), ratio
    for name in groups.missing:
        usable[name] = full[name] if ratio < 1 else Fraction(0)
    if up_with_unready:
        usable.update(dict.fromkeys(groups.unready, Fraction(0)))
    damped = _ratio(usable, targets)
    if tolerances.hold(damped) or (ratio < 1 < damped) or (damped < 1 < ratio):
        return current, ratio
    wanted = math.ceil(damped * len(usable))
    if (damped < 1 and wanted > current) or (damped > 1 and wanted < current):
        return current, ratio
    return wanted, ratio


def _ratio(values: Mapping[str, Fraction], targets: Mapping[str, Fraction]) -> Fraction:
    wanted = sum((targets[name] for name in values), Fraction(0))
    if not wanted:
        raise NoRecommendation("no metrics returned matched known pods")
    return sum(values.values(), Fraction(0)) / wanted


def from_total(
    current: int, ready: int, total: Fraction, target: Fraction, tolerances: Tolerances, *, per_pod: bool
) -> int:
    """Replicas for a metric that is one number for all pods: a value, or an average per pod."""
    if not per_pod:
        ratio = total / target
        if not current:
            return math.ceil(ratio)
        return current if tolerances.hold(ratio) else math.ceil(ratio * ready)
    ratio = total / (target * current) if current else Fraction(2)
    return current if current and tolerances.hold(ratio) else math.ceil(total / target)
