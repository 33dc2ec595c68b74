"""A node as the scheduler sees it: its own facts, and the sum of the pods on it, kept up by additions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.objects import Object
from cluster.scheduler.amounts import Amounts, amounts
from cluster.scheduler.pods import HostPort, PodInfo

WILDCARDS = ("", "0.0.0.0")


class NodeInfo:
    """Mutable; belongs to the cache. `generation` moves with every change."""

    __slots__ = (
        "allocatable",
        "generation",
        "images",
        "labels",
        "max_pods",
        "name",
        "object",
        "pods",
        "ports",
        "requested",
        "score_cpu",
        "score_memory",
        "taints",
        "unschedulable",
        "zone",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.object: Object | None = None
        self.labels: Mapping[str, str] = {}
        self.taints: list[Object] = []
        self.unschedulable = False
        self.allocatable: Amounts = {}
        self.max_pods = 0
        self.images: dict[str, int] = {}
        self.zone = ""
        self.pods: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.score_cpu = 0
        self.score_memory = 0
        self.ports: dict[HostPort, int] = {}
        self.generation = 0

    def set_object(self, node: Object | None) -> None:
        """The Node object appeared, changed, or (None) went while pods are still accounted here."""
        self.object = node
        self.generation += 1
        if node is None:
            return
        spec, status = node.get("spec", {}), node.get("status", {})
        self.labels = node["metadata"].get("labels") or {}
        self.taints = spec.get("taints") or []
        self.unschedulable = bool(spec.get("unschedulable"))
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))
        self.max_pods = self.allocatable.get("pods", 0)
        self.images = {
            name: image.get("sizeBytes", 0)
            for image in status.get("images", ())
            for name in image.get("names") or ()
        }
        self.zone = zone_of(self.labels)

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        self._account(pod, 1)

    def remove(self, pod: PodInfo) -> None:
        del self.pods[pod.uid]
        self._account(pod, -1)

    def _account(self, pod: PodInfo, sign: int) -> None:
        self.generation += 1
        requested = self.requested
        for name, amount in pod.requests.items():
            requested[name] = requested.get(name, 0) + sign * amount
        self.score_cpu += sign * pod.score_requests[0]
        self.score_memory += sign * pod.score_requests[1]
        for port in pod.ports:
            count = self.ports.get(port, 0) + sign
            if count:
                self.ports[port] = count
            else:
                del self.ports[port]


def zone_of(labels: Mapping[str, Any]) -> str:
    """Region and zone together, as the scheduler groups nodes."""
    region = labels.get("topology.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:{zone}" if region or zone else ""


def ports_conflict(node: NodeInfo, pod: PodInfo) -> bool:
    """Whether a host port that the pod wants is taken. An unspecified IP clashes with every other."""
    for ip, protocol, port in pod.ports:
        for used_ip, used_protocol, used_port in node.ports:
            if (
                port == used_port
                and protocol == used_protocol
                and (ip == used_ip or ip in WILDCARDS or used_ip in WILDCARDS)
            ):
                return True
    return False
