"""Whether a pod's requests fit a node, and which node they suit best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import pstdev

from cluster.scheduler.arguments import PLAIN, RATIO, Arguments
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import MAX_SCORE, Check
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

_CPU_AND_MEMORY = (("cpu", 1), ("memory", 1))


class NodeResourcesFit:
    """Filter, and a score: LeastAllocated, the emptier the better, MostAllocated, the fuller, or a function
    of the part that is used."""

    name = "NodeResourcesFit"

    def __init__(self, arguments: Arguments = PLAIN) -> None:
        self._ignored = (arguments.ignored_resources, arguments.ignored_groups)
        self.score: Callable[[PodInfo, NodeInfo], int] = least_allocated
        if arguments.strategy == RATIO:
            self.score = _allocation(arguments.resources, _by_shape(arguments.shape), counts_zero=False)
        elif arguments.strategy == "MostAllocated":
            self.score = _allocation(arguments.resources, _most)
        elif tuple(arguments.resources) != _CPU_AND_MEMORY:
            self.score = _allocation(arguments.resources, _least)

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check:
        requests = [(name, n) for name, n in pod.requests.items() if n and not self._is_ignored(name)]

        def check(node: NodeInfo) -> Refusal | None:
            requested, allocatable = node.requested, node.allocatable
            fits = len(node.pods) < node.max_pods
            for name, amount in requests:
                if amount > allocatable.get(name, 0) - requested.get(name, 0):
                    fits = False
            return None if fits else _refusal(requests, node)

        return check

    def _is_ignored(self, name: str) -> bool:
        """Only extended resources can be."""
        group, slash, _ = name.partition("/")
        names, groups = self._ignored
        return bool(slash) and (name in names or group in groups)

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int]:
        score = self.score
        return [score(pod, node) for node in nodes]


def _refusal(requests: Sequence[tuple[str, int]], node: NodeInfo) -> Refusal:
    reasons: list[str] = []
    resolvable = True
    if len(node.pods) >= node.max_pods:
        reasons.append("Too many pods")
    for name, amount in requests:
        available = node.allocatable.get(name, 0)
        if amount > available - node.requested.get(name, 0):
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


Part = Callable[[int, int], int]
"""(used, capacity) → score of one resource, 0…MAX_SCORE."""


def _least(used: int, capacity: int) -> int:
    return max(capacity - used, 0) * MAX_SCORE // capacity


def _most(used: int, capacity: int) -> int:
    return min(used, capacity) * MAX_SCORE // capacity


def _by_shape(shape: Sequence[tuple[int, int]]) -> Part:
    """A broken line through the points; level before the first and after the last."""
    points = [(percent, score * (MAX_SCORE // 10)) for percent, score in shape]

    def part(used: int, capacity: int) -> int:
        percent = 100 if used > capacity else used * 100 // capacity
        if percent <= points[0][0]:
            return points[0][1]
        for (x0, y0), (x1, y1) in pairwise(points):
            if percent < x1:
                return y0 + int((y1 - y0) * (percent - x0) / (x1 - x0))
        return points[-1][1]

    return part


def _allocation(
    resources: Sequence[tuple[str, int]], part: Part, *, counts_zero: bool = True
) -> Callable[[PodInfo, NodeInfo], int]:
    """The score over any resources with weights. One that the node doesn't have, or an extended one that
    the pod doesn't ask for, says nothing. `counts_zero`: a score of 0 lowers the average too."""

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
            own = part(used, capacity)
            if own or counts_zero:
                total += weight * own
                weights += weight
        if not weights:
            return 0
        return total // weights if counts_zero else round(total / weights)

    return score


class NodeResourcesBalancedAllocation:
    """Prefers nodes on which the resources (CPU and memory) are used to the same degree. Pods that ask for
    nothing are not scored: they don't change the balance."""

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, resources: Sequence[str] = ("cpu", "memory")) -> None:
        self._resources = tuple(resources)

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        if not any(pod.requests.get(name) for name in self._resources):
            return None
        if self._resources == ("cpu", "memory"):
            return [balanced(pod, node) for node in nodes]
        return [_balanced_over(self._resources, pod, node) for node in nodes]


def balanced(pod: PodInfo, node: NodeInfo) -> int:
    cpu, memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    if not cpu or not memory:
        return MAX_SCORE
    cpu_part = min((node.requested.get("cpu", 0) + pod.requests.get("cpu", 0)) / cpu, 1.0)
    memory_part = min((node.requested.get("memory", 0) + pod.requests.get("memory", 0)) / memory, 1.0)
    return int((1 - abs(cpu_part - memory_part) / 2) * MAX_SCORE)


def _balanced_over(resources: Sequence[str], pod: PodInfo, node: NodeInfo) -> int:
    """By the standard deviation of the used parts."""
    parts = [
        min((node.requested.get(name, 0) + pod.requests.get(name, 0)) / capacity, 1.0)
        for name in resources
        if (capacity := node.allocatable.get(name, 0))
    ]
    if not parts:
        return MAX_SCORE
    return int((1 - pstdev(parts)) * MAX_SCORE)
