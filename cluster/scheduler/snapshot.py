"""The scheduler's picture of the cluster, kept current instead of copied.

One pod is placed synchronously, between two awaits, so nothing can change under it: the live cache is its
own snapshot. A pod counts on its node from the moment it is *assumed* there, before the API has taken the
binding; when the binding fails, or is not seen within ASSUME_S, it is forgotten again.

Nodes are offered round-robin across zones, from where the last search stopped, so that a search that ends
early does not always end at the same nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster.api.objects import Object
from cluster.scheduler.counts import Counters
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.terms import PodTerm

ASSUME_S = 900.0
"""How long an assumed pod whose binding was never seen is believed."""
CHANGES_KEPT = 100_000
HARD = 0
"""In place of a weight: the term is required. What that is worth to others, the profile says."""


@dataclass(slots=True)
class _TermCount:
    """Pods on nodes that carry this anti-affinity or preference themselves."""

    term: PodTerm
    per_node: dict[str, int]
    domains: dict[str, int] | None = None
    """The same per value of the term's topology key; None until somebody asks."""

    def by_domain(self, nodes: Mapping[str, NodeInfo]) -> dict[str, int]:
        if self.domains is None:
            self.domains = {}
            for name, count in self.per_node.items():
                self._shift_domain(nodes[name], count)
        return self.domains

    def shift(self, node: NodeInfo, by: int) -> None:
        count = self.per_node.get(node.name, 0) + by
        if count:
            self.per_node[node.name] = count
        else:
            del self.per_node[node.name]
        if self.domains is not None:
            self._shift_domain(node, by)

    def _shift_domain(self, node: NodeInfo, by: int) -> None:
        value = node.labels.get(self.term.topology_key)
        if value is not None and self.domains is not None:
            self.domains[value] = self.domains.get(value, 0) + by


class Snapshot:
    def __init__(self, namespace_labels: Callable[[str], Mapping[str, str]]) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        """By name, also those whose Node object is gone but that still have pods."""
        self.namespace_labels = namespace_labels
        self.counters = Counters(self.nodes, namespace_labels)
        self.anti_affinity: dict[PodTerm, _TermCount] = {}
        """Required anti-affinity terms of placed pods."""
        self.preferences: dict[tuple[PodTerm, int], _TermCount] = {}
        """Terms of placed pods that attract (+) or repel (-) others, with their weights (or HARD)."""
        self.image_nodes: dict[str, int] = {}
        self.start = 0
        """Where the next search begins."""
        self.changed: list[str] = []
        """Names of nodes in order of change, for caches of results."""
        self.era = 0
        """Moves when `changed` starts over: what was cached before is void."""
        self._placed: dict[str, PodInfo] = {}
        self._assumed: dict[str, float] = {}
        self._order: list[NodeInfo] | None = None
        self._labelled: dict[str, tuple[list[str], bool]] = {}
        self._positions: dict[str, dict[str, list[int]]] = {}
        self.nominated: dict[str, tuple[PodInfo, str]] = {}
        """Pods that wait on a node for their victims to go, by uid; room is kept for them."""
        self.prefer_no_schedule = 0
        """Nodes with a PreferNoSchedule taint."""

    def ordered(self) -> list[NodeInfo]:
        """The nodes that exist, zone after zone in turn."""
        if self._order is None:
            zones: dict[str, list[NodeInfo]] = {}
            for node in self.nodes.values():
                if node.object is not None:
                    zones.setdefault(node.zone, []).append(node)
            self._order = _interleaved(list(zones.values()))
        return self._order

    def labelled(self, key: str) -> tuple[list[str], bool]:
        """The values that a label has on the nodes that exist, and whether all of them have it."""
        found = self._labelled.get(key)
        if found is None:
            values = [node.labels.get(key) for node in self.ordered()]
            present = list(dict.fromkeys(value for value in values if value is not None))
            found = self._labelled[key] = (present, None not in values)
        return found

    def positions(self, key: str) -> dict[str, list[int]]:
        """Where in `ordered` the nodes with each value of a label are, ascending."""
        found = self._positions.get(key)
        if found is None:
            found = self._positions[key] = {}
            for position, node in enumerate(self.ordered()):
                if (value := node.labels.get(key)) is not None:
                    found.setdefault(value, []).append(position)
        return found

    def _reorder(self) -> None:
        self._order = None
        self._labelled.clear()
        self._positions.clear()

    def set_node(self, node: Object) -> None:
        name = node["metadata"]["name"]
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name)
        new = info.object is None
        labels = info.labels
        self._count_node(info, -1)
        info.set_object(node)
        self._count_node(info, 1)
        if new:
            self._reorder()
        if labels != info.labels:
            self._reorder()
            if info.pods:
                self._forget_domains()
        self._note(name)

    def remove_node(self, name: str) -> None:
        info = self.nodes[name]
        self._count_node(info, -1)
        info.set_object(None)
        self._reorder()
        self._note(name)
        if not info.pods:
            del self.nodes[name]

    def put(self, pod: PodInfo) -> None:
        """A pod that is bound in the API, new or changed."""
        self._assumed.pop(pod.uid, None)
        known = self._placed.get(pod.uid)
        if known is not None:
            self._take_away(known)
        self._place(pod, pod.node_name)

    def remove(self, uid: str) -> None:
        self._assumed.pop(uid, None)
        known = self._placed.get(uid)
        if known is not None:
            self._take_away(known)

    def assume(self, pod: PodInfo, node: str, now: float) -> None:
        """Counts the pod on the node as if it were bound."""
        assumed = pod.placed_on(node)
        self._assumed[pod.uid] = now + ASSUME_S
        self._place(assumed, node)

    def forget(self, uid: str) -> None:
        """The binding of an assumed pod failed."""
        if self._assumed.pop(uid, None) is not None:
            self._take_away(self._placed[uid])

    def expire(self, now: float) -> list[PodInfo]:
        """Assumed pods whose binding was never seen; they are no longer counted."""
        late = [self._placed[uid] for uid, until in self._assumed.items() if until <= now]
        for pod in late:
            self.forget(pod.uid)
        return late

    def lift(self, pod: PodInfo) -> None:
        """Takes a placed pod away in thought; `lower` puts it back."""
        if pod.uid in self._placed:
            self._take_away(pod)

    def lower(self, pod: PodInfo) -> None:
        """Puts a lifted pod back; nothing if it is there."""
        if pod.uid not in self._placed:
            self._place(pod, pod.node_name)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def placed(self, uid: str) -> PodInfo | None:
        return self._placed.get(uid)

    def namespace_changed(self) -> None:
        """Terms with namespace selectors may mean other pods now."""
        self.counters.forget()

    def _forget_domains(self) -> None:
        self.counters.forget()
        for counts in (self.anti_affinity, self.preferences):
            for entry in counts.values():
                entry.domains = None

    def _place(self, pod: PodInfo, name: str) -> None:
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = NodeInfo(name)
        node.add(pod)
        self._placed[pod.uid] = pod
        self._count(pod, name, 1)

    def _take_away(self, pod: PodInfo) -> None:
        del self._placed[pod.uid]
        node = self.nodes[pod.node_name]
        node.remove(pod)
        self._count(pod, node.name, -1)
        if node.object is None and not node.pods:
            del self.nodes[node.name]

    def _note(self, node: str) -> None:
        if len(self.changed) >= CHANGES_KEPT:
            self.changed.clear()
            self.era += 1
        self.changed.append(node)

    def _count(self, pod: PodInfo, node: str, by: int) -> None:
        self._note(node)
        self.counters.pod_changed(pod, node, by)
        if not pod.has_affinity:
            return
        info = self.nodes[node]
        for term in pod.anti_affinity:
            _shift(self.anti_affinity, term, term, info, by)
        for term in pod.affinity:
            _shift(self.preferences, (term, HARD), term, info, by)
        for term in pod.preferred_affinity:
            _shift(self.preferences, (term, term.weight), term, info, by)
        for term in pod.preferred_anti_affinity:
            _shift(self.preferences, (term, -term.weight), term, info, by)

    def _count_node(self, info: NodeInfo, by: int) -> None:
        if info.object is None:
            return
        if any(taint["effect"] == "PreferNoSchedule" for taint in info.taints):
            self.prefer_no_schedule += by
        for image in info.images:
            self.image_nodes[image] = self.image_nodes.get(image, 0) + by


def _shift(counts: dict, key: object, term: PodTerm, node: NodeInfo, by: int) -> None:  # type: ignore[type-arg]
    entry = counts.get(key)
    if entry is None:
        entry = counts[key] = _TermCount(term, {})
    entry.shift(node, by)
    if not entry.per_node:
        del counts[key]


def _interleaved(zones: list[list[NodeInfo]]) -> list[NodeInfo]:
    longest = max((len(zone) for zone in zones), default=0)
    return [zone[i] for i in range(longest) for zone in zones if i < len(zone)]
