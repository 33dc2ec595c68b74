"""A pod as the scheduler sees it: everything that plugins ask, computed once when the pod appears."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cluster.api.nodeselectors import required_node
from cluster.api.objects import Key, Object, key_of
from cluster.scheduler import terms
from cluster.scheduler.amounts import Amounts, pod_requests, pod_requests_for_scores

HostPort = tuple[str, str, int]
"""(host IP or "", protocol, port)."""


class PodInfo:
    """Immutable; made anew when the pod changes."""

    __slots__ = (
        "affinity",
        "anti_affinity",
        "has_affinity",
        "images",
        "key",
        "labels",
        "name",
        "namespace",
        "node_name",
        "object",
        "pinned",
        "ports",
        "preferred_affinity",
        "preferred_anti_affinity",
        "preferred_nodes",
        "priority",
        "requests",
        "required_node",
        "score_requests",
        "spread",
        "terminating",
        "tolerations",
        "uid",
        "volumes",
    )

    def __init__(self, pod: Object) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        self.object = pod
        self.key: Key = key_of(pod)
        self.uid: str = meta["uid"]
        self.namespace: str = meta.get("namespace", "")
        self.name: str = meta["name"]
        self.labels: Mapping[str, str] = meta.get("labels") or {}
        self.terminating = "deletionTimestamp" in meta
        self.node_name: str = spec.get("nodeName", "")
        self.priority: int = spec.get("priority") or 0
        self.requests: Amounts = pod_requests(pod)
        self.score_requests = pod_requests_for_scores(pod)
        self.ports: tuple[HostPort, ...] = _host_ports(spec)
        self.tolerations: list[Object] = spec.get("tolerations") or []
        self.required_node = required_node(spec)
        self.preferred_nodes = terms.preferred_node(spec)
        self.pinned = terms.pinned_nodes(spec)
        self.affinity, self.preferred_affinity = terms.pod_terms(pod, "podAffinity")
        self.anti_affinity, self.preferred_anti_affinity = terms.pod_terms(pod, "podAntiAffinity")
        self.spread: list[Object] = spec.get("topologySpreadConstraints") or []
        self.images: tuple[str, ...] = tuple(c.get("image", "") for c in _containers(spec))
        self.volumes: list[Object] = spec.get("volumes") or []

        self.has_affinity = bool(
            self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity
        )

    def placed_on(self, node: str) -> PodInfo:
        """The same pod as it will be once bound to the node."""
        twin = copy.copy(self)
        twin.node_name = node
        return twin


def _containers(spec: Mapping[str, Any]) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    sidecars = [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"]
    return tuple(
        (port.get("hostIP", ""), port.get("protocol", "TCP"), port["hostPort"])
        for container in [*spec["containers"], *sidecars]
        for port in container.get("ports", ())
        if port.get("hostPort")
    )
