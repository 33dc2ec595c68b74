"""How large each ReplicaSet of a Deployment should be: pure arithmetic on replica counts.

A rollout moves in steps, one per reconcile: first the new set grows as far as maxSurge allows, else the old
ones shrink as far as maxUnavailable allows, unhealthy pods first. A change of spec.replicas in the middle
of a rollout is spread over the sets in proportion to their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from cluster.api.objects import Object
from cluster.reconcile.pods import moment

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"


@dataclass(frozen=True, slots=True)
class Resize:
    """One ReplicaSet and the size it should get; its present size when only annotations are to change."""

    replica_set: Object
    to: int


def wanted(deployment: Object) -> int:
    replicas: int = deployment["spec"].get("replicas", 1)
    return replicas


def size(replica_set: Object) -> int:
    replicas: int = replica_set["spec"].get("replicas", 1)
    return replicas


def status_count(obj: Object, name: str) -> int:
    count: int = obj.get("status", {}).get(name, 0)
    return count


def created(obj: Object) -> datetime:
    return moment(obj["metadata"]["creationTimestamp"])


def by_age(sets: Sequence[Object]) -> list[Object]:
    """Oldest first, then by name."""
    return sorted(sets, key=lambda each: (created(each), each["metadata"]["name"]))


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """An IntOrString: a number, or a percentage of `total` rounded up or down."""
    if isinstance(value, int):
        return value
    share = Fraction(int(value.removesuffix("%")) * total, 100)
    return math.ceil(share) if up else math.floor(share)


def is_rolling(deployment: Object) -> bool:
    strategy: dict[str, Any] = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def bounds(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero for a rolling update."""
    total = wanted(deployment)
    if not is_rolling(deployment):
        return 0, 0
    rolling: dict[str, Any] = deployment["spec"].get("strategy", {}).get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", "25%"), total, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), total, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def largest(deployment: Object) -> int:
    """The most pods the sets may have together."""
    return wanted(deployment) + bounds(deployment)[0]


def first_size(deployment: Object, sets: Sequence[Object], present: int = 0) -> int:
    """The size of the new set, which now has `present` of all the pods in `sets`."""
    total = wanted(deployment)
    if not is_rolling(deployment):
        return total
    room = largest(deployment) - sum(map(size, sets))
    if room <= 0:
        return present
    return present + min(room, total - present)


def grow_new(deployment: Object, new: Object, olds: Sequence[Object]) -> Resize | None:
    """The step of the new ReplicaSet, if it has one to make."""
    present, total = size(new), wanted(deployment)
    if present == total:
        return None
    to = total if present > total else first_size(deployment, [new, *olds], present)
    return Resize(new, to) if to != present else None


def shrink_old(deployment: Object, new: Object, olds: Sequence[Object]) -> list[Resize]:
    """The steps of the old ReplicaSets: pods that aren't available anyway go first."""
    remaining = {each["metadata"]["name"]: size(each) for each in olds}
    if not sum(remaining.values()):
        return []
    least = wanted(deployment) - bounds(deployment)[1]
    new_unavailable = size(new) - status_count(new, "availableReplicas")
    budget = sum(remaining.values()) + size(new) - least - new_unavailable
    if budget <= 0:
        return []
    for each in by_age(olds):
        name = each["metadata"]["name"]
        unhealthy = remaining[name] - status_count(each, "availableReplicas")
        step = max(0, min(budget, unhealthy))
        remaining[name] -= step
        budget -= step
    # A set that was just made smaller still reports the pods that it is about to lose.
    spare = sum(min(size(each), status_count(each, "availableReplicas")) for each in [new, *olds]) - least
    for each in by_age(olds):
        name = each["metadata"]["name"]
        step = max(0, min(spare, remaining[name]))
        remaining[name] -= step
        spare -= step
    return [
        Resize(each, remaining[each["metadata"]["name"]])
        for each in by_age(olds)
        if remaining[each["metadata"]["name"]] != size(each)
    ]


def stop_all(olds: Sequence[Object]) -> list[Resize]:
    """Recreate: nothing of the old may be left."""
    return [Resize(each, 0) for each in olds if size(each)]


def is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
    """spec.replicas changed since the sets were last sized."""
    for each in sets:
        text = (each["metadata"].get("annotations") or {}).get(DESIRED)
        if size(each) and text is not None and _number(text) != wanted(deployment):
            return True
    return False


def rescale(deployment: Object, new: Object | None, olds: Sequence[Object]) -> list[Resize]:
    """Brings the sets to a changed spec.replicas without moving the rollout on."""
    total = wanted(deployment)
    only = _active_or_latest(new, olds)
    if only is not None:
        return [Resize(only, total)]
    if new is not None and _is_saturated(deployment, new):
        return stop_all(olds)
    return _proportional(deployment, new, olds) if is_rolling(deployment) else []


def _active_or_latest(new: Object | None, olds: Sequence[Object]) -> Object | None:
    """The set that takes the whole change: the only active one, or the newest of none."""
    everyone = [*olds, *([new] if new is not None else [])]
    active = [each for each in everyone if size(each)]
    if len(active) == 1:
        return active[0]
    if active:
        return None
    if new is not None:
        return new
    return max(olds, key=created, default=None)


def _is_saturated(deployment: Object, new: Object) -> bool:
    total = wanted(deployment)
    text = (new["metadata"].get("annotations") or {}).get(DESIRED, "")
    return size(new) == total == _number(text) and status_count(new, "availableReplicas") == total


def _proportional(deployment: Object, new: Object | None, olds: Sequence[Object]) -> list[Resize]:
    sets = [each for each in [*olds, *([new] if new is not None else [])] if size(each)]
    allowed = largest(deployment) if wanted(deployment) else 0
    to_add = allowed - sum(map(size, sets))
    if to_add >= 0:
        sets.sort(key=lambda each: (-size(each), -created(each).timestamp()))
    else:
        sets.sort(key=lambda each: (-size(each), created(each).timestamp()))
    sizes: list[int] = []
    added = 0
    for each in sets:
        share = _share(deployment, each, to_add, added) if to_add else 0
        sizes.append(size(each) + share)
        added += share
    if sizes and to_add:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return [Resize(each, to) for each, to in zip(sets, sizes, strict=True)]


def _share(deployment: Object, replica_set: Object, to_add: int, added: int) -> int:
    """This set's part of the pods to add (or, negative, to remove)."""
    if to_add == added:
        return 0
    fraction = _fraction(deployment, replica_set)
    return min(fraction, to_add - added) if to_add > 0 else max(fraction, to_add - added)


def _fraction(deployment: Object, replica_set: Object) -> int:
    if not wanted(deployment):
        return -size(replica_set)
    text = (replica_set["metadata"].get("annotations") or {}).get(MAX_REPLICAS, "")
    before = _number(text) or status_count(deployment, "replicas")
    if not before:
        return 0
    # Halves round away from zero, as in Go.
    return math.floor(Fraction(size(replica_set) * largest(deployment), before) + Fraction(1, 2)) - size(
        replica_set
    )


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
