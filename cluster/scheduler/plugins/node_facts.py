"""Filters that look at one node's own facts: name, unschedulable, taints, affinity, ports; and their
scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.api.nodeselectors import required_node
from cluster.api.tolerations import tolerates, untolerated
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo, ports_conflict
from cluster.scheduler.plugins import Check, normalised
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot
from cluster.scheduler.terms import preferred_node

_UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable:
    name = "NodeUnschedulable"
    _refusal = Refusal(name, ("node(s) were unschedulable",), resolvable=False)

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if any(tolerates(toleration, _UNSCHEDULABLE) for toleration in pod.tolerations):
            return None
        refusal = self._refusal
        return lambda node: refusal if node.unschedulable else None


class NodeName:
    name = "NodeName"
    _refusal = Refusal(name, ("node(s) didn't match the requested node name",), resolvable=False)

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        wanted = pod.node_name
        if not wanted:
            return None
        refusal = self._refusal
        return lambda node: None if node.name == wanted else refusal


class TaintToleration:
    name = "TaintToleration"
    _refusal = Refusal(name, ("node(s) had untolerated taint(s)",), resolvable=False)

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check:
        tolerations, refusal = pod.tolerations, self._refusal

        def check(node: NodeInfo) -> Refusal | None:
            if not node.taints or untolerated(tolerations, node.taints, ("NoSchedule", "NoExecute")) is None:
                return None
            return refusal

        return check

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        if not snapshot.prefer_no_schedule:
            return None
        tolerations = [t for t in pod.tolerations if t.get("effect") in (None, "", "PreferNoSchedule")]
        intolerable = [
            sum(
                taint["effect"] == "PreferNoSchedule"
                and not any(tolerates(toleration, taint) for toleration in tolerations)
                for taint in node.taints
            )
            for node in nodes
        ]
        return normalised(intolerable, reverse=True)


class NodeAffinity:
    """What the pod wants of its node, and what the profile wants for every pod (`addedAffinity`)."""

    name = "NodeAffinity"
    _refusal = Refusal(name, ("node(s) didn't match Pod's node affinity/selector",), resolvable=False)
    _enforced = Refusal(name, ("node(s) didn't match scheduler-enforced node affinity",), resolvable=False)

    def __init__(self, added: Mapping[str, Any] | None = None) -> None:
        spec = {"affinity": {"nodeAffinity": added or {}}}
        self._added = required_node(spec)
        self._preferred = preferred_node(spec)

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        test, added = pod.required_node, self._added
        refusal, enforced = self._refusal, self._enforced
        if added is None:
            return None if test is None else lambda n: None if test(n.labels, n.name) else refusal

        def check(node: NodeInfo) -> Refusal | None:
            if not added(node.labels, node.name):
                return enforced
            return None if test is None or test(node.labels, node.name) else refusal

        return check

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        preferred = [*self._preferred, *pod.preferred_nodes]
        if not preferred:
            return None
        return normalised(
            [sum(weight for weight, test in preferred if test(n.labels, n.name)) for n in nodes]
        )


class NodePorts:
    name = "NodePorts"
    _refusal = Refusal(name, ("node(s) didn't have free ports for the requested pod ports",))

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not pod.ports:
            return None
        refusal = self._refusal
        return lambda node: refusal if node.ports and ports_conflict(node, pod) else None
