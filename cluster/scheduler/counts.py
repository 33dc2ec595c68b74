"""How many pods match a selector, per node and per topology domain, kept up with every pod that comes or
goes.

Topology spread and pod affinity ask this for every pod they place. Counting anew would walk all pods each
time; a counter walks them once, when first asked, and from then on costs one selector match per pod that
changes. Counters that were not asked for longest are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from cluster.api.selectors import LabelSelector
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.terms import NamespaceLabels, PodTerm

LIMIT = 2000
"""Counters kept."""


class PodCounter:
    """One selector. `live_only` leaves out pods that are being deleted."""

    __slots__ = ("_live_only", "_nodes", "domains", "per_node", "term")

    def __init__(self, term: PodTerm, nodes: Mapping[str, NodeInfo], live_only: bool) -> None:
        self.term = term
        self._nodes = nodes
        self._live_only = live_only
        self.per_node: dict[str, int] = {}
        self.domains: dict[str, dict[str, int]] = {}
        """Topology key → value → pods; only keys that were asked for."""

    def matches(self, pod: PodInfo, namespaces: NamespaceLabels) -> bool:
        if self._live_only and pod.terminating:
            return False
        return self.term.about(pod.namespace, pod.labels, namespaces)

    def shift(self, node: str, by: int) -> None:
        count = self.per_node.get(node, 0) + by
        if count:
            self.per_node[node] = count
        else:
            self.per_node.pop(node, None)
        for key, values in self.domains.items():
            value = self._nodes[node].labels.get(key)
            if value is not None:
                values[value] = values.get(value, 0) + by

    def by_domain(self, key: str) -> dict[str, int]:
        """Pods per value of a topology label, over all nodes."""
        values = self.domains.get(key)
        if values is None:
            values = self.domains[key] = {}
            for name, count in self.per_node.items():
                value = self._nodes[name].labels.get(key)
                if value is not None:
                    values[value] = values.get(value, 0) + count
        return values


class Counters:
    def __init__(self, nodes: Mapping[str, NodeInfo], namespaces: NamespaceLabels) -> None:
        self._nodes = nodes
        self._namespaces = namespaces
        self._counters: OrderedDict[tuple[object, ...], PodCounter] = OrderedDict()
        self._local: dict[str, dict[tuple[object, ...], PodCounter]] = {}
        """By namespace, where the term names its namespaces: what a pod's change has to look at."""
        self._wide: dict[tuple[object, ...], PodCounter] = {}

    def of(self, term: PodTerm, *, live_only: bool = False) -> PodCounter:
        """The counter for the pods that the term is about (its topology key does not matter)."""
        chosen = "" if term.namespace_selector is None else f"?{term.namespace_selector}"
        key = (term.namespaces, chosen, term.selector, live_only)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = PodCounter(term, self._nodes, live_only)
            self._fill(found)
            for bucket in self._buckets(found.term):
                bucket[key] = found
            if len(self._counters) > LIMIT:
                self._drop_oldest()
        else:
            self._counters.move_to_end(key)
        return found

    def of_selector(self, namespace: str, selector: LabelSelector) -> PodCounter:
        """Living pods of one namespace."""
        term = PodTerm(frozenset((namespace,)), None, selector, "")
        return self.of(term, live_only=True)

    def pod_changed(self, pod: PodInfo, node: str, by: int) -> None:
        for bucket in (self._local.get(pod.namespace), self._wide):
            for counter in bucket.values() if bucket else ():
                if counter.matches(pod, self._namespaces):
                    counter.shift(node, by)

    def forget(self) -> None:
        """Labels of nodes or namespaces changed: count anew when next asked."""
        self._counters.clear()
        self._local.clear()
        self._wide.clear()

    def _buckets(self, term: PodTerm) -> list[dict[tuple[object, ...], PodCounter]]:
        if term.namespace_selector is not None:
            return [self._wide]
        return [self._local.setdefault(namespace, {}) for namespace in sorted(term.namespaces)]

    def _drop_oldest(self) -> None:
        key, counter = self._counters.popitem(last=False)
        for bucket in self._buckets(counter.term):
            del bucket[key]

    def _fill(self, counter: PodCounter) -> None:
        for node in self._nodes.values():
            pods: Iterable[PodInfo] = node.pods.values()
            count = sum(1 for pod in pods if counter.matches(pod, self._namespaces))
            if count:
                counter.shift(node.name, count)
