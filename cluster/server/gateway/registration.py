"""From an agent's `Register` to the Node object, as a kubelet registers itself.

A new Node gets everything that the agent says. On an existing one the default labels are brought up to
date and the status' static parts (capacity, allocatable, addresses, nodeInfo); labels and taints that an
administrator changed since stay, because the agent's own count at creation only.
"""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object
from cluster.api.wire import Register

HOSTNAME = "kubernetes.io/hostname"
_KEPT_UP_TO_DATE = (
    HOSTNAME,
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
)
_ATTACH_DETACH = "volumes.kubernetes.io/controller-managed-attach-detach"


def new_node(message: Register) -> Object:
    """The Node to create."""
    spec: dict[str, Any] = {}
    if message.taints:
        spec["taints"] = list(message.taints)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": message.node,
            "labels": _labels(message),
            "annotations": {_ATTACH_DETACH: "true", **message.annotations},
        },
        "spec": spec,
        "status": _status(message),
    }


def relabelled(node: Object, message: Register) -> Object | None:
    """The existing Node with its default labels brought up to date; None where they are."""
    present = node["metadata"].get("labels", {})
    wanted = _labels(message)
    changes = {
        name: wanted[name]
        for name in _KEPT_UP_TO_DATE
        if name in wanted and present.get(name) != wanted[name]
    }
    if not changes:
        return None
    return {**node, "metadata": {**node["metadata"], "labels": {**present, **changes}}}


def with_static_status(node: Object, message: Register) -> Object | None:
    """The Node with the agent's capacity, allocatable, addresses and nodeInfo; None where it has them."""
    status = node.get("status", {})
    wanted = _status(message)
    known = status.get("addresses", [])
    if _has_own_address(known) and not _has_own_address(wanted["addresses"]):
        wanted["addresses"] = known  # the agent will say in its heartbeats which address it took
    if all(status.get(field) == value for field, value in wanted.items()):
        return None
    return {**node, "status": {**status, **wanted}}


def _has_own_address(addresses: list[Object]) -> bool:
    return any(address["type"] == "InternalIP" for address in addresses)


def _labels(message: Register) -> dict[str, str]:
    system = message.node_info.get("operatingSystem", "linux")
    architecture = message.node_info.get("architecture", "amd64")
    return {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": system,
        "kubernetes.io/arch": architecture,
        HOSTNAME: message.node,
        "kubernetes.io/os": system,
        **message.labels,
    }


def _status(message: Register) -> dict[str, Any]:
    status: dict[str, Any] = {
        "capacity": dict(message.capacity),
        "allocatable": dict(message.allocatable),
        "addresses": list(message.addresses),
        "nodeInfo": dict(message.node_info),
    }
    if message.kubelet_port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": message.kubelet_port}}
    return status
