"""InterPodAffinity: where pods want to be near, or far from, other pods; in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import MAX_SCORE, Check
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import HARD, Snapshot
from cluster.scheduler.terms import PodTerm


class InterPodAffinity:
    name = "InterPodAffinity"
    _affinity = Refusal(name, ("node(s) didn't match pod affinity rules",), resolvable=False)
    _anti_affinity = Refusal(name, ("node(s) didn't match pod anti-affinity rules",))
    _existing = Refusal(name, ("node(s) didn't satisfy existing pods anti-affinity rules",))

    def __init__(self, hard_weight: int = 1, *, ignore_preferred_of_existing: bool = False) -> None:
        """`hard_weight`: what a placed pod's required affinity for this one is worth.
        `ignore_preferred_of_existing`: a pod without preferences of its own is not scored."""
        self._hard_weight = hard_weight
        self._ignores_others = ignore_preferred_of_existing

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        repelled = self._repelled_by_placed(pod, snapshot)
        if not repelled and not pod.affinity and not pod.anti_affinity:
            return None
        near = [(term.topology_key, _matching(term, pod, snapshot)) for term in pod.affinity]
        far = [(term.topology_key, snapshot.counters.of(term)) for term in pod.anti_affinity]
        far_domains = [(key, counter.by_domain(key)) for key, counter in far]
        first = not any(count for _, domains in near for count in domains.values()) and all(
            _about(term, pod, snapshot) for term in pod.affinity
        )

        def check(node: NodeInfo) -> Refusal | None:
            labels = node.labels
            if near and not _near(near, labels, first):
                return self._affinity
            for key, domains in far_domains:
                value = labels.get(key)
                if value is not None and domains.get(value, 0) > 0:
                    return self._anti_affinity
            for key, values in repelled.items():
                if labels.get(key) in values:
                    return self._existing
            return None

        return check

    def _repelled_by_placed(self, pod: PodInfo, snapshot: Snapshot) -> dict[str, set[str]]:
        """Domains closed to this pod by the anti-affinity of pods that are already placed."""
        closed: dict[str, set[str]] = {}
        for term, entry in snapshot.anti_affinity.items():
            if not _about(term, pod, snapshot):
                continue
            values = closed.setdefault(term.topology_key, set())
            for name in entry.per_node:
                value = snapshot.nodes[name].labels.get(term.topology_key)
                if value is not None:
                    values.add(value)
        return {key: values for key, values in closed.items() if values}

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        if self._ignores_others and not pod.preferred_affinity and not pod.preferred_anti_affinity:
            return None
        raw = [0] * len(nodes)
        for term in pod.preferred_affinity:
            _attract(raw, nodes, term, snapshot.counters.of(term).by_domain(term.topology_key), term.weight)
        for term in pod.preferred_anti_affinity:
            _attract(raw, nodes, term, snapshot.counters.of(term).by_domain(term.topology_key), -term.weight)
        for (term, preference), entry in snapshot.preferences.items():
            weight = self._hard_weight if preference == HARD else preference
            if weight and _about(term, pod, snapshot):
                _attract(raw, nodes, term, entry.by_domain(snapshot.nodes), weight)
        low, high = min(raw, default=0), max(raw, default=0)
        if low == high:
            return None
        return [int(MAX_SCORE * ((score - low) / (high - low))) for score in raw]


def _near(near: list[tuple[str, dict[str, int]]], labels: Mapping[str, str], first: bool) -> bool:
    """Every term has a match in the node's domain; or the pod is the first of a group that wants to be
    near itself, and the node has the domains."""
    if any(key not in labels for key, _ in near):
        return False
    return first or all(domains.get(labels[key], 0) > 0 for key, domains in near)


def _matching(term: PodTerm, pod: PodInfo, snapshot: Snapshot) -> dict[str, int]:
    """Pods per domain that match all of the pod's affinity terms: one pod must satisfy them together."""
    if len(pod.affinity) == 1:
        return snapshot.counters.of(term).by_domain(term.topology_key)
    domains: dict[str, int] = {}
    for name in snapshot.counters.of(term).per_node:
        node = snapshot.nodes[name]
        value = node.labels.get(term.topology_key)
        if value is None:
            continue
        count = sum(
            all(t.about(p.namespace, p.labels, snapshot.namespace_labels) for t in pod.affinity)
            for p in node.pods.values()
        )
        domains[value] = domains.get(value, 0) + count
    return domains


def _about(term: PodTerm, pod: PodInfo, snapshot: Snapshot) -> bool:
    return term.about(pod.namespace, pod.labels, snapshot.namespace_labels)


def _attract(
    raw: list[int], nodes: Sequence[NodeInfo], term: PodTerm, domains: Mapping[str, int], weight: int
) -> None:
    """Adds to the nodes' scores. What it costs depends on the nodes to score, not on all that have pods."""
    if not domains:
        return
    key = term.topology_key
    for number, node in enumerate(nodes):
        value = node.labels.get(key)
        if value is not None and (count := domains.get(value)):
            raw[number] += weight * count
