"""PodTopologySpread: constraints that forbid (DoNotSchedule) or dislike (ScheduleAnyway) uneven spreading.

A pod without constraints gets the cluster's defaults, which only score: spread over zones (skew 3) and
hosts (skew 5) among the pods of the same Service or workload.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.api.selectors import LabelSelector, of_object_form
from cluster.api.tolerations import untolerated
from cluster.scheduler.arguments import DefaultSpread
from cluster.scheduler.counts import PodCounter
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import MAX_SCORE, Check, Within
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot
from cluster.scheduler.terms import with_label_keys

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
DEFAULTS = ((ZONE, 3), (HOSTNAME, 5))
DOMAINS_WEIGHED = 100
"""Of a key with more domains it is not asked which are open: their few nodes are asked themselves."""
_SYSTEM = tuple(DefaultSpread(key=key, max_skew=skew, when="ScheduleAnyway") for key, skew in DEFAULTS)

SelectorOf = Callable[[PodInfo], LabelSelector | None]


@dataclass(frozen=True, slots=True)
class Constraint:
    key: str
    max_skew: int
    selector: LabelSelector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


class PodTopologySpread:
    name = "PodTopologySpread"
    _unlabelled = Refusal(
        name,
        ("node(s) didn't match pod topology spread constraints (missing required label)",),
        resolvable=False,
    )
    _skewed = Refusal(name, ("node(s) didn't match pod topology spread constraints",))

    def __init__(self, default_selector: SelectorOf, defaults: Sequence[DefaultSpread] | None = None) -> None:
        """`default_selector(pod)`: what the Services and the workload of the pod select; None: nothing.
        `defaults`: for pods that name no constraint; None: the system's, by which a node need not have
        all the labels."""
        self._default_selector = default_selector
        self._defaults_given = _SYSTEM if defaults is None else tuple(defaults)
        self._is_system = defaults is None

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        constraints = (
            _constraints(pod, "DoNotSchedule") if pod.spread else self._defaults(pod, "DoNotSchedule")
        )
        if not constraints:
            return None
        keys = [constraint.key for constraint in constraints]
        counts = [_domains(c, keys, pod, snapshot) for c in constraints]
        lowest = [
            min(domains.values(), default=0) if len(domains) >= c.min_domains else 0
            for c, domains in zip(constraints, counts, strict=True)
        ]
        own = [int(c.selector.matches(pod.labels)) for c in constraints]
        rules = list(zip(constraints, counts, lowest, own, strict=True))

        def check(node: NodeInfo) -> Refusal | None:
            for constraint, domains, low, self_match in rules:
                value = node.labels.get(constraint.key)
                if value is None:
                    return self._unlabelled
                if domains.get(value, 0) + self_match - low > constraint.max_skew:
                    return self._skewed
            return None

        return _narrowed(check, rules, snapshot)

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        own = bool(pod.spread)
        constraints = _constraints(pod, "ScheduleAnyway") if own else self._defaults(pod, "ScheduleAnyway")
        if not constraints:
            return None
        strict = own or not self._is_system
        keys = [constraint.key for constraint in constraints]
        raw = [0.0] * len(nodes)
        ignored = [strict and any(key not in node.labels for key in keys) for node in nodes]
        for constraint in constraints:
            self._add(constraint, keys if strict else [], pod, snapshot, nodes, ignored, raw)
        return _normalised([round(score) for score in raw], ignored)

    def _defaults(self, pod: PodInfo, when: str) -> list[Constraint]:
        wanted = [default for default in self._defaults_given if default.when == when]
        selector = self._default_selector(pod) if wanted else None
        if selector is None:
            return []
        return [Constraint(default.key, default.max_skew, selector) for default in wanted]

    def _add(
        self,
        constraint: Constraint,
        keys: list[str],
        pod: PodInfo,
        snapshot: Snapshot,
        nodes: Sequence[NodeInfo],
        ignored: list[bool],
        raw: list[float],
    ) -> None:
        key, extra = constraint.key, constraint.max_skew - 1
        values = [node.labels.get(key) for node in nodes]
        counter = snapshot.counters.of_selector(pod.namespace, constraint.selector)
        if key == HOSTNAME:
            weight = math.log(len(nodes) - sum(ignored) + 2)
            per_node = counter.per_node
            for i, node in enumerate(nodes):
                if values[i] is not None:
                    raw[i] += per_node.get(node.name, 0) * weight + extra
            return
        present = {value: None for value, skip in zip(values, ignored, strict=True) if value and not skip}
        if not present:
            return
        weight = math.log(len(present) + 2)
        domains = _domains(constraint, keys, pod, snapshot)
        amount = {value: domains.get(value, 0) * weight + extra for value in present}
        for i, value in enumerate(values):
            if value in amount:
                raw[i] += amount[value]


def _narrowed(
    check: Check, rules: Sequence[tuple[Constraint, dict[str, int], int, int]], snapshot: Snapshot
) -> Check:
    """With the domains that are still open, where few of a few are."""
    for constraint, domains, low, self_match in rules:
        values, _ = snapshot.labelled(constraint.key)
        if len(values) > DOMAINS_WEIGHED:
            continue
        most = constraint.max_skew + low - self_match
        still_open = [value for value in values if domains.get(value, 0) <= most]
        if 2 * len(still_open) <= len(values):
            return Within(check, constraint.key, still_open)
    return check


def _normalised(scores: list[int], ignored: list[bool]) -> list[int] | None:
    counted = [score for score, skip in zip(scores, ignored, strict=True) if not skip]
    if not counted:
        return None
    low, high = min(counted), max(counted)
    if high == 0:
        return [0 if skip else MAX_SCORE for skip in ignored]
    return [
        0 if skip else MAX_SCORE * (high + low - score) // high
        for score, skip in zip(scores, ignored, strict=True)
    ]


def _constraints(pod: PodInfo, when: str) -> list[Constraint]:
    found = []
    for entry in pod.spread:
        if entry.get("whenUnsatisfiable") != when:
            continue
        selector = of_object_form(entry.get("labelSelector"))
        selector = with_label_keys(selector, pod.labels, entry.get("matchLabelKeys") or (), "in")
        found.append(
            Constraint(
                key=entry["topologyKey"],
                max_skew=int(entry["maxSkew"]),
                selector=selector,
                min_domains=int(entry.get("minDomains") or 1),
                honor_affinity=entry.get("nodeAffinityPolicy", "Honor") == "Honor",
                honor_taints=entry.get("nodeTaintsPolicy", "Ignore") == "Honor",
            )
        )
    return found


def _domains(constraint: Constraint, keys: list[str], pod: PodInfo, snapshot: Snapshot) -> dict[str, int]:
    """Matching pods per value of the constraint's key, over the nodes that count for this pod."""
    counter = snapshot.counters.of_selector(pod.namespace, constraint.selector)
    narrow = (constraint.honor_affinity and pod.required_node is not None) or constraint.honor_taints
    if not narrow and not keys:
        return counter.by_domain(constraint.key)
    return _counted(constraint, keys, pod, snapshot, counter)


def _counted(
    constraint: Constraint, keys: list[str], pod: PodInfo, snapshot: Snapshot, counter: PodCounter
) -> dict[str, int]:
    test = pod.required_node if constraint.honor_affinity else None
    if test is None and not constraint.honor_taints and len(snapshot.nodes) == len(snapshot.ordered()):
        found = [snapshot.labelled(key) for key in keys]
        if keys == [constraint.key] or all(everywhere for _, everywhere in found):
            present = counter.by_domain(constraint.key)
            return {value: present.get(value, 0) for value in snapshot.labelled(constraint.key)[0]}
    per_node = counter.per_node
    domains: dict[str, int] = {}
    for node in snapshot.ordered():
        labels = node.labels
        if any(key not in labels for key in keys):
            continue
        if test is not None and not test(labels, node.name):
            continue
        if constraint.honor_taints and untolerated(pod.tolerations, node.taints, ("NoSchedule", "NoExecute")):
            continue
        value = labels[constraint.key]
        domains[value] = domains.get(value, 0) + per_node.get(node.name, 0)
    return domains
