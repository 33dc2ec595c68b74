"""Which daemon pods to create and delete: pure.

`manage` keeps one pod on each node where it belongs; `roll` replaces old pods by new ones, either after
deleting them (maxUnavailable at a time) or beside them (maxSurge at a time).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cluster.api.objects import Object
from cluster.controllers.daemonset.placement import target_node
from cluster.controllers.deployment.sizes import scaled
from cluster.controllers.history import HASH_LABEL
from cluster.reconcile import pods
from cluster.reconcile.pods import moment


@dataclass(slots=True)
class Plan:
    create: list[str] = field(default_factory=list)
    """Node names."""
    delete: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)
    """Pods that ended badly: deleted with back-off, and said so."""
    succeeded: list[Object] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A DaemonSet, its pods by node (oldest first), the nodes, the hash of the present template."""

    daemon_set: Object
    nodes: Sequence[Object]
    places: Mapping[str, tuple[bool, bool]]
    """Node name → what `placement.fits` says of it."""
    by_node: Mapping[str, Sequence[Object]]
    hash: str
    now: datetime

    def available(self, pod: Object) -> bool:
        min_ready_s = self.daemon_set["spec"].get("minReadySeconds", 0)
        return pods.available_in(pod, min_ready_s, self.now) == 0

    def updated(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        generation = self.template_generation
        return bool(
            labels.get(HASH_LABEL) == self.hash
            or (generation is not None and labels.get("pod-template-generation") == generation)
        )

    @property
    def template_generation(self) -> str | None:
        annotations = self.daemon_set["metadata"].get("annotations") or {}
        generation: str | None = annotations.get("deprecated.daemonset.template.generation")
        return generation


def grouped(daemon_pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods by the node they run on or are meant for: Running before Pending, older before younger."""
    groups: dict[str, list[Object]] = {}
    for pod in daemon_pods:
        groups.setdefault(target_node(pod), []).append(pod)
    for members in groups.values():
        if len(members) > 1:
            members.sort(key=_seniority)
    return groups


def _seniority(pod: Object) -> tuple[int, int, datetime, str]:
    meta = pod["metadata"]
    assigned = 0 if pod["spec"].get("nodeName") else 1
    phase = {"Running": 0, "Unknown": 1}.get(pod.get("status", {}).get("phase", ""), 2)
    return assigned, phase, moment(meta["creationTimestamp"]), meta["name"]


def bounds(daemon_set: Object, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; not both zero."""
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", 0), desired, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", 1), desired, up=True)
    return (0, 1) if desired and not surge and not unavailable else (surge, unavailable)


def is_rolling(daemon_set: Object) -> bool:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def _allows_surge(daemon_set: Object) -> bool:
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return is_rolling(daemon_set) and rolling.get("maxSurge", 0) not in (0, "0%")


def manage(view: View) -> Plan:
    """One pod where one belongs, none elsewhere."""
    plan = Plan()
    known: dict[str, None] = {}
    for node in view.nodes:
        name = node["metadata"]["name"]
        known[name] = None
        _manage_node(view, node, view.by_node.get(name, ()), plan)
    for name, members in view.by_node.items():
        if name not in known:
            plan.delete.extend(pod for pod in members if not pod["spec"].get("nodeName"))
    return plan


def _manage_node(view: View, node: Object, present: Sequence[Object], plan: Plan) -> None:
    should_run, may_stay = view.places[node["metadata"]["name"]]
    if not present:
        if should_run:
            plan.create.append(node["metadata"]["name"])
        return
    if not may_stay:
        plan.delete.extend(pod for pod in present if "deletionTimestamp" not in pod["metadata"])
        return
    running: list[Object] = []
    for pod in present:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        phase = pod.get("status", {}).get("phase")
        if phase == "Failed":
            plan.failed.append(pod)
        elif phase == "Succeeded":
            plan.succeeded.append(pod)
        else:
            running.append(pod)
    if len(running) > 1:
        plan.delete.extend(_surplus(view, running))


def _surplus(view: View, running: Sequence[Object]) -> list[Object]:
    if not _allows_surge(view.daemon_set):
        return list(running[1:])
    new: Object | None = None
    old: Object | None = None
    surplus: list[Object] = []
    for pod in running:
        if view.updated(pod) and new is None:
            new = pod
        elif not view.updated(pod) and old is None:
            old = pod
        else:
            surplus.append(pod)
    if old is not None and new is not None and (not pods.is_ready(old) or view.available(new)):
        surplus.append(old)
    return surplus


def desired_nodes(view: View) -> list[str]:
    """Nodes on which a pod should run."""
    return [name for name, (should_run, _) in view.places.items() if should_run]


def roll(view: View) -> Plan:
    """The next step from old pods to new ones."""
    desired = desired_nodes(view)
    surge, unavailable = bounds(view.daemon_set, len(desired))
    names = dict.fromkeys([*view.by_node, *desired])
    pairs = {name: _pair(view, view.by_node.get(name, ())) for name in names if name}
    return _roll_beside(view, pairs, surge) if surge else _roll_in_place(view, pairs, unavailable)


Pair = tuple[Object | None, Object | None] | None
"""(new pod, old pod) of a node; None where there are more than one of either."""


def _pair(view: View, present: Sequence[Object]) -> Pair:
    new: Object | None = None
    old: Object | None = None
    for pod in present:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        if view.updated(pod):
            if new is not None:
                return None
            new = pod
        else:
            if old is not None:
                return None
            old = pod
    return new, old


def _roll_in_place(view: View, pairs: Mapping[str, Pair], limit: int) -> Plan:
    unavailable = 0
    plan = Plan()
    candidates: list[Object] = []
    for pair in pairs.values():
        new, old = pair if pair is not None else (None, None)
        if (new is None) == (old is None):
            unavailable += 1
        elif new is not None:
            unavailable += not view.available(new)
        elif old is not None and not view.available(old):
            unavailable += 1
            plan.delete.append(old)
        elif old is not None:
            candidates.append(old)
    plan.delete.extend(candidates[: max(0, limit - unavailable)])
    return plan


def _roll_beside(view: View, pairs: Mapping[str, Pair], limit: int) -> Plan:
    surging = 0
    plan = Plan()
    candidates: list[str] = []
    for name, pair in pairs.items():
        if pair is None:
            surging += 1
            continue
        new, old = pair
        if old is None:
            continue
        if new is None:
            (candidates if view.available(old) else plan.create).append(name)
        elif view.available(new):
            plan.delete.append(old)
        else:
            surging += 1
    plan.create.extend(candidates[: max(0, limit - surging)])
    return plan


def status_of(view: View) -> Object:
    """The counts."""
    desired = current = misscheduled = ready = available = updated = 0
    for node in view.nodes:
        name = node["metadata"]["name"]
        should_run, members = view.places[name][0], view.by_node.get(name, ())
        if not should_run:
            misscheduled += bool(members)
            continue
        desired += 1
        if not members:
            continue
        current += 1
        pod = members[0]
        if pods.is_ready(pod):
            ready += 1
            available += view.available(pod)
        updated += view.updated(pod)
    status: Object = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misscheduled,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
    }
    optional = {
        "observedGeneration": view.daemon_set["metadata"].get("generation", 0),
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
    status.update((name, count) for name, count in optional.items() if count)
    present = view.daemon_set.get("status", {})
    for kept in ("collisionCount", "conditions"):
        if present.get(kept) is not None:
            status[kept] = present[kept]
    return status
