"""An IPAddress for each cluster IP, which names the Service that has it.

Divergence: the API server of Kubernetes makes and deletes it within the Service's own request; here this
controller follows the Services a moment behind. What holds an address is the Service itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, NotFound
from cluster.api.objects import Key, Object
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "ip-address-controller"
BY_ADDRESS = "cluster IP"
FAMILY = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"


def cluster_ips(service: Object) -> Iterable[str]:
    """Index function: the addresses that a Service holds."""
    spec = service["spec"]
    given = spec.get("clusterIPs") or [spec.get("clusterIP") or "None"]
    return [address for address in given if address and address != "None"]


def controller(world: World) -> Controller[str]:
    queue: WorkQueue[str] = WorkQueue(world.clock)
    services, addresses = world.informers.of(kinds.SERVICES), world.informers.of(kinds.IP_ADDRESSES)
    services.add_index(BY_ADDRESS, cluster_ips)
    return Controller(
        IPAddresses(world), queue, watches=[(services, _of_services(queue)), (addresses, _own_name(queue))]
    )


def _of_services(queue: WorkQueue[str]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for service in (old, new):
            for address in cluster_ips(service) if service is not None else ():
                queue.add(address, cause)

    return handler


def _own_name(queue: WorkQueue[str]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        queue.add((new or old or {})["metadata"]["name"], cause)

    return handler


def ip_address(address: str, service: Object) -> Object:
    meta = service["metadata"]
    labels = {FAMILY: "IPv6" if ":" in address else "IPv4", MANAGED_BY: MANAGER}
    parent = {"resource": "services", "namespace": meta["namespace"], "name": meta["name"]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": address, "labels": labels},
        "spec": {"parentRef": parent},
    }


class IPAddresses:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._services = world.informers.of(kinds.SERVICES)
        self._addresses = world.informers.of(kinds.IP_ADDRESSES)

    async def reconcile(self, key: str) -> float | None:
        present = self._addresses.get(Key("", key))
        holder = next(iter(self._services.by_index(BY_ADDRESS, key)), None)
        wanted = ip_address(key, holder) if holder is not None else None
        if present is not None and (wanted is None or _parent(present) != _parent(wanted)):
            if (present["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
                return None
            await self._delete(present)
            present = None
        if present is None and wanted is not None:
            try:
                await self._client.create(kinds.IP_ADDRESSES, wanted)
            except AlreadyExists:
                return 1.0
        return None

    async def _delete(self, address: Object) -> None:
        meta = address["metadata"]
        try:
            await self._client.delete(kinds.IP_ADDRESSES, meta["name"], uid=meta["uid"])
        except NotFound:
            return


def _parent(address: Object) -> tuple[str, str]:
    parent = address["spec"].get("parentRef") or {}
    return parent.get("namespace", ""), parent.get("name", "")
