"""Whether a pod's requests fit a node, and which node they suit best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import MAX_SCORE, Check
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

_CPU_AND_MEMORY = (("cpu", 1), ("memory", 1))


class NodeResourcesFit:
    """Filter, and a score: LeastAllocated, the emptier the better, or MostAllocated, the fuller."""

    name = "NodeResourcesFit"

    def __init__(
        self,
        strategy: str = "LeastAllocated",
        resources: Sequence[tuple[str, int]] = _CPU_AND_MEMORY,
    ) -> None:
        self.score: Callable[[PodInfo, NodeInfo], int] = least_allocated
        if strategy != "LeastAllocated" or tuple(resources) != _CPU_AND_MEMORY:
            self.score = _allocation(resources, most=strategy == "MostAllocated")

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check:
        requests = [(name, amount) for name, amount in pod.requests.items() if amount]

        def check(node: NodeInfo) -> Refusal | None:
            requested, allocatable = node.requested, node.allocatable
            fits = len(node.pods) < node.max_pods
            for name, amount in requests:
                if amount > allocatable.get(name, 0) - requested.get(name, 0):
                    fits = False
            return None if fits else _refusal(pod, node)

        return check

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int]:
        score = self.score
        return [score(pod, node) for node in nodes]


def _refusal(pod: PodInfo, node: NodeInfo) -> Refusal:
    reasons: list[str] = []
    resolvable = True
    if len(node.pods) >= node.max_pods:
        reasons.append("Too many pods")
    for name, amount in pod.requests.items():
        available = node.allocatable.get(name, 0)
        if amount and amount > available - node.requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
            resolvable = resolvable and amount <= available
    return Refusal(NodeResourcesFit.name, tuple(reasons), resolvable)


def least_allocated(pod: PodInfo, node: NodeInfo) -> int:
    cpu, memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    total = weights = 0
    if cpu:
        used = node.score_cpu + pod.score_requests[0]
        total += (cpu - used) * MAX_SCORE // cpu if used <= cpu else 0
        weights += 1
    if memory:
        used = node.score_memory + pod.score_requests[1]
        total += (memory - used) * MAX_SCORE // memory if used <= memory else 0
        weights += 1
    return total // weights if weights else 0


def _allocation(resources: Sequence[tuple[str, int]], *, most: bool) -> Callable[[PodInfo, NodeInfo], int]:
    """The score over any resources with weights. One that the node doesn't have, or an extended one that
    the pod doesn't ask for, says nothing."""

    def score(pod: PodInfo, node: NodeInfo) -> int:
        total = weights = 0
        for name, weight in resources:
            capacity = node.allocatable.get(name, 0)
            if name == "cpu":
                used = node.score_cpu + pod.score_requests[0]
            elif name == "memory":
                used = node.score_memory + pod.score_requests[1]
            elif asked := pod.requests.get(name, 0):
                used = node.requested.get(name, 0) + asked
            else:
                continue
            if not capacity:
                continue
            part = min(used, capacity) if most else max(capacity - used, 0)
            total += weight * (part * MAX_SCORE // capacity)
            weights += weight
        return total // weights if weights else 0

    return score


class NodeResourcesBalancedAllocation:
    """Prefers nodes on which CPU and memory are used to the same degree. Pods that ask for nothing are
    not scored: they don't change the balance."""

    name = "NodeResourcesBalancedAllocation"

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        if not pod.requests.get("cpu") and not pod.requests.get("memory"):
            return None
        return [balanced(pod, node) for node in nodes]


def balanced(pod: PodInfo, node: NodeInfo) -> int:
    cpu, memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    if not cpu or not memory:
        return MAX_SCORE
    cpu_part = min((node.requested.get("cpu", 0) + pod.requests.get("cpu", 0)) / cpu, 1.0)
    memory_part = min((node.requested.get("memory", 0) + pod.requests.get("memory", 0)) / memory, 1.0)
    return int((1 - abs(cpu_part - memory_part) / 2) * MAX_SCORE)
