"""Making room for a pod that fits nowhere: which pods of lower priority would have to go, on which node.

For every node where evicting could help, all pods of lower priority are taken away in thought; if the pod
fits then, they are put back one by one, most important first, as long as it still fits. Who could not be put
back is a victim. The node is chosen by: fewest violated disruption budgets, lowest highest victim, lowest
sum of priorities, fewest victims, the victims that started last.

"In thought" means on the live snapshot, undone before anybody else runs: filters see exactly what they
would see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.api.selectors import LabelSelector
from cluster.scheduler.decision import Decision, Refusal, histogram
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.placement import prepare, refusal_of
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.profile import Profile
from cluster.scheduler.snapshot import Snapshot

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
Budgets = Callable[[str], Sequence[tuple[LabelSelector, int]]]
"""The disruption budgets of a namespace: whom they protect, and how many disruptions they still allow."""


@dataclass(frozen=True, slots=True)
class Preemption:
    node: str
    victims: tuple[PodInfo, ...]


def preempt(
    pod: PodInfo, snapshot: Snapshot, profile: Profile, decision: Decision, budgets: Budgets
) -> Preemption | None:
    """What to evict; None, with the reason in `decision.preemption`, where nothing helps."""
    why = _ineligible(pod, snapshot)
    if why:
        decision.preemption = f"preemption: {why}"
        return None
    counts: Counter[str] = Counter()
    found: list[tuple[tuple[float, ...], Preemption]] = []
    arguments = profile.arguments
    limit = max(decision.nodes_total * arguments.candidates_share // 100, arguments.candidates_least)
    for node in snapshot.ordered():
        refusal = decision.refusals.get(node.name) or decision.refusal
        if refusal is None or not refusal.resolvable:
            counts[NOT_HELPFUL] += 1
            continue
        if len(found) >= limit:
            break
        victims = _victims(pod, node, snapshot, profile, budgets)
        if isinstance(victims, Refusal):
            counts.update(victims.reasons)
            continue
        chosen, violations = victims
        if not chosen:
            counts[NO_VICTIMS] += 1
            continue
        found.append((_cost(chosen, violations), Preemption(node.name, tuple(chosen))))
    if found:
        return min(found, key=lambda entry: entry[0])[1]
    decision.preemption = f"preemption: 0/{decision.nodes_total} nodes are available: {histogram(counts)}."
    return None


def _ineligible(pod: PodInfo, snapshot: Snapshot) -> str:
    if pod.object["spec"].get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    nominated = snapshot.nodes.get(pod.object.get("status", {}).get("nominatedNodeName", ""))
    if nominated is not None and any(
        other.terminating and other.priority < pod.priority for other in nominated.pods.values()
    ):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def _victims(
    pod: PodInfo, node: NodeInfo, snapshot: Snapshot, profile: Profile, budgets: Budgets
) -> tuple[list[PodInfo], int] | Refusal:
    lower = [other for other in node.pods.values() if other.priority < pod.priority]
    if not lower:
        return Refusal("DefaultPreemption", (NO_VICTIMS,), resolvable=False)
    lower.sort(key=_importance)
    for other in lower:
        snapshot.lift(other)
    try:
        refusal = _refusal(pod, node, snapshot, profile)
        if refusal is not None:
            return refusal
        violating, harmless = _by_budget(lower, budgets)
        victims: list[PodInfo] = []
        violations = 0
        for number, other in enumerate([*violating, *harmless]):
            snapshot.lower(other)
            if _refusal(pod, node, snapshot, profile) is not None:
                snapshot.lift(other)
                victims.append(other)
                violations += number < len(violating)
        return victims, violations
    finally:
        for other in lower:
            snapshot.lower(other)


def _refusal(pod: PodInfo, node: NodeInfo, snapshot: Snapshot, profile: Profile) -> Refusal | None:
    checks = prepare(pod, snapshot, profile)
    return checks if isinstance(checks, Refusal) else refusal_of(node, checks)


def _by_budget(pods: Sequence[PodInfo], budgets: Budgets) -> tuple[list[PodInfo], list[PodInfo]]:
    """Those whose eviction would violate a disruption budget, and the others; each most important first."""
    left: dict[str, list[list[object]]] = {}
    violating: list[PodInfo] = []
    harmless: list[PodInfo] = []
    for pod in pods:
        if pod.namespace not in left:
            left[pod.namespace] = [[selector, allowed] for selector, allowed in budgets(pod.namespace)]
        violated = False
        for entry in left[pod.namespace]:
            selector, allowed = entry
            assert isinstance(selector, LabelSelector)
            assert isinstance(allowed, int)
            if selector.matches(pod.labels):
                entry[1] = allowed - 1
                violated = violated or allowed <= 0
        (violating if violated else harmless).append(pod)
    return violating, harmless


def _importance(pod: PodInfo) -> tuple[int, str, str]:
    """Sorts by priority, highest first, then by start, earliest first."""
    return -pod.priority, _started(pod), pod.uid


def _started(pod: PodInfo) -> str:
    started: str = pod.object.get("status", {}).get("startTime", "")
    return started or pod.object["metadata"].get("creationTimestamp", "")


def _cost(victims: Sequence[PodInfo], violations: int) -> tuple[float, ...]:
    highest = max(victim.priority for victim in victims)
    earliest = min(_started(victim) for victim in victims if victim.priority == highest)
    lateness = tuple(-ord(character) for character in earliest)
    total = sum(victim.priority + (1 << 31) for victim in victims)
    return (violations, highest, total, len(victims), *lateness)
