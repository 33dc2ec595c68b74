"""The objects that every cluster has from the start. Making them again changes nothing.

Default service accounts and the root CA's ConfigMaps come from their controllers, roles and bindings from
`cluster.server.auth.bootstrap`.
"""

from __future__ import annotations

from ipaddress import IPv4Network

from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, NotFound
from cluster.api.kinds import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    INGRESS_CLASSES,
    NAMESPACES,
    PRIORITY_CLASSES,
    SERVICE_CIDRS,
    SERVICES,
    STORAGE_CLASSES,
)
from cluster.api.objects import Object
from cluster.api.resource import Resource

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def bootstrap_objects(
    client: ApiClient, *, service_cidr: str, address: str = "127.0.0.1", port: int = 6443
) -> None:
    """`address`, `port`: where the API server listens, the endpoint of the `kubernetes` Service."""
    for name in SYSTEM_NAMESPACES:
        await _ensure(client, NAMESPACES, {"metadata": {"name": name}})
    for name, value, description in _PRIORITIES:
        await _ensure(
            client,
            PRIORITY_CLASSES,
            {"metadata": {"name": name}, "value": value, "description": description},
        )
    await _ensure(client, STORAGE_CLASSES, _STORAGE_CLASS)
    await _ensure(client, INGRESS_CLASSES, _INGRESS_CLASS)
    await _ensure(client, SERVICES, _dns_service(service_cidr))
    await _ensure_range(client, service_cidr)
    await _ensure(client, SERVICES, _kubernetes_service(service_cidr, port))
    for resource, body in _kubernetes_endpoints(address, port):
        await _ensure_content(client, resource, body)


_INGRESS_CLASS: Object = {
    "metadata": {"name": "kubemu", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
    "spec": {"controller": "kubemu.dev/ingress"},
}
"""See `cluster.controllers.load_balancer`."""

_STORAGE_CLASS: Object = {
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubemu.dev/emulated",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}
"""See `cluster.controllers.volumes.provisioner`."""

_PRIORITIES = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if "
        "necessary.",
    ),
)


def dns_address(service_cidr: str) -> str:
    """Where the cluster's DNS is asked: the tenth address of the Services, as everywhere."""
    return str(IPv4Network(service_cidr)[10])


def _dns_service(service_cidr: str) -> Object:
    """Answered by the agents themselves (`agents.services.dns`), so without selector and endpoints."""
    address = dns_address(service_cidr)
    labels = {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    return {
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
                {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
            ],
        },
    }


async def _ensure_range(client: ApiClient, service_cidr: str) -> None:
    """The ServiceCIDR `kubernetes`. Addresses come from the settings, whatever range is added here."""
    metadata = {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]}
    await _ensure(client, SERVICE_CIDRS, {"metadata": metadata, "spec": {"cidrs": [service_cidr]}})
    found = await client.get(SERVICE_CIDRS, "kubernetes")
    if found.get("status", {}).get("conditions"):
        return
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes Service CIDR is ready",
        "lastTransitionTime": found["metadata"]["creationTimestamp"],
    }
    await client.update(SERVICE_CIDRS, {**found, "status": {"conditions": [ready]}}, subresource="status")


def _kubernetes_service(service_cidr: str, port: int) -> Object:
    address = str(IPv4Network(service_cidr)[1])
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }


def _kubernetes_endpoints(address: str, port: int) -> tuple[tuple[Resource, Object], ...]:
    """The Service has no selector: the API server names itself as its endpoint, in both forms."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    skip, service = "endpointslice.kubernetes.io/skip-mirror", "kubernetes.io/service-name"
    return (
        (
            ENDPOINTS,
            {
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": {skip: "true"}},
                "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
            },
        ),
        (
            ENDPOINT_SLICES,
            {
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": {service: "kubernetes"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
                "ports": ports,
            },
        ),
    )


async def _ensure_content(client: ApiClient, resource: Resource, body: Object) -> None:
    """Like `_ensure`, and what is there but differs (the API has moved) is replaced."""
    metadata = body["metadata"]
    try:
        found = await client.get(resource, metadata["name"], namespace=metadata["namespace"])
    except NotFound:
        await _ensure(client, resource, body)
        return
    if any(found.get(field) != value for field, value in body.items() if field != "metadata"):
        await client.update(resource, {**found, **body, "metadata": found["metadata"]})


async def _ensure(client: ApiClient, resource: Resource, body: Object) -> None:
    metadata = body["metadata"]
    try:
        await client.get(resource, metadata["name"], namespace=metadata.get("namespace", ""))
    except NotFound:
        try:
            await client.create(resource, body)
        except AlreadyExists:
            return
