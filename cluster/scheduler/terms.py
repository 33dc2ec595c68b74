"""Node and pod affinity terms, parsed once per pod and then only asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.api.nodeselectors import NodeTest, node_selector_term
from cluster.api.objects import Object
from cluster.api.selectors import EVERYTHING, LabelSelector, Requirement, of_object_form


def preferred_node(spec: Mapping[str, Any]) -> list[tuple[int, NodeTest]]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found = []
    for entry in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        test = node_selector_term(entry["preference"])
        if test is not None and entry["weight"]:
            found.append((int(entry["weight"]), test))
    return found


def pinned_nodes(spec: Mapping[str, Any]) -> frozenset[str] | None:
    """The only nodes that required affinity by `metadata.name` allows (DaemonSet pods); None: any."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    names: list[str] = []
    for term in required.get("nodeSelectorTerms") or ():
        pins = [
            e["values"]
            for e in term.get("matchFields") or ()
            if e["key"] == "metadata.name" and e["operator"] == "In"
        ]
        if not pins:
            return None
        names.extend(pins[0])
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class PodTerm:
    """A pod affinity term: which pods it is about, and the topology in which they count."""

    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    selector: LabelSelector
    topology_key: str
    weight: int = 0

    def about(self, namespace: str, labels: Mapping[str, str], namespaces: NamespaceLabels) -> bool:
        if namespace not in self.namespaces and (
            self.namespace_selector is None or not self.namespace_selector.matches(namespaces(namespace))
        ):
            return False
        return self.selector.matches(labels)


NamespaceLabels = Callable[[str], Mapping[str, str]]
"""The labels of a namespace; empty where it is unknown."""


def pod_terms(pod: Object, kind: str) -> tuple[list[PodTerm], list[PodTerm]]:
    """(required, preferred) terms of `podAffinity` or `podAntiAffinity`."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    required = [
        _pod_term(pod, term, 0)
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    ]
    preferred = [
        _pod_term(pod, entry["podAffinityTerm"], int(entry["weight"]))
        for entry in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    ]
    return required, preferred


def _pod_term(pod: Object, term: Mapping[str, Any], weight: int) -> PodTerm:
    names = term.get("namespaces") or ()
    chosen = term.get("namespaceSelector")
    if not names and chosen is None:
        names = (pod["metadata"].get("namespace", ""),)
    selector = of_object_form(term.get("labelSelector"))
    labels = pod["metadata"].get("labels") or {}
    selector = with_label_keys(selector, labels, term.get("matchLabelKeys") or (), "in")
    selector = with_label_keys(selector, labels, term.get("mismatchLabelKeys") or (), "notin")
    return PodTerm(
        namespaces=frozenset(names),
        namespace_selector=None if chosen is None else of_object_form(chosen) or EVERYTHING,
        selector=selector,
        topology_key=term["topologyKey"],
        weight=weight,
    )


def with_label_keys(
    selector: LabelSelector, labels: Mapping[str, str], keys: Sequence[str], operator: str
) -> LabelSelector:
    """The selector narrowed by the pod's own values of `keys`."""
    added = tuple(Requirement(key, operator, (labels[key],)) for key in keys if key in labels)
    if not added or selector.nothing:
        return selector
    return LabelSelector(selector.requirements + added)
