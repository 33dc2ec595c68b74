"""ServiceCIDRs: ready when they can be drawn from; gone only when no address of theirs is used any more.

A range that is being deleted stays while there are addresses in it that no other range covers.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from cluster.api import kinds
from cluster.api.objects import Key, Object, key_of, timestamp
from cluster.controllers.addresses.ip_addresses import MANAGED_BY, MANAGER
from cluster.reconcile.conditions import find
from cluster.reconcile.informer import Informer
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "service-cidr-controller"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE_S = 10.0
"""How long a deleted range stays at least, for writes that drew from it just before."""
READY = "Kubernetes Service CIDR is ready"
IN_USE = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    ranges, addresses = world.informers.of(kinds.SERVICE_CIDRS), world.informers.of(kinds.IP_ADDRESSES)

    def on_address(old: Object | None, new: Object | None, cause: str) -> None:
        if new is None and old is not None:
            for each in holders(old["metadata"]["name"], ranges.list()):
                queue.add(key_of(each), cause)

    def on_range(old: Object | None, new: Object | None, cause: str) -> None:
        enqueue(queue)(old, new, cause)
        for other in going(ranges):
            queue.add(key_of(other), cause)

    return Controller(
        ServiceRanges(world), queue, watches=[(ranges, on_range), (addresses, on_address)], workers=1
    )


def going(ranges: Informer) -> list[Object]:
    return [each for each in ranges.list() if "deletionTimestamp" in each["metadata"]]


def holders(address: str, ranges: Iterable[Object]) -> list[Object]:
    """The ranges that an address lies in."""
    found = ip_address(address)
    return [
        each
        for each in ranges
        if any(found in ip_network(block, strict=False) for block in each["spec"].get("cidrs") or ())
    ]


def orphans(going: Object, ranges: Iterable[Object], addresses: Iterable[Object]) -> list[str]:
    """The allocated addresses that would be in no range any more without `going`."""
    staying = [each for each in ranges if "deletionTimestamp" not in each["metadata"]]
    return [
        name
        for address in addresses
        if (address["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
        and holders(name := address["metadata"]["name"], [going])
        and not holders(name, staying)
    ]


class ServiceRanges:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._ranges = world.informers.of(kinds.SERVICE_CIDRS)
        self._addresses = world.informers.of(kinds.IP_ADDRESSES)

    async def reconcile(self, key: Key) -> float | None:
        found = self._ranges.get(key)
        if found is None:
            return None
        meta = found["metadata"]
        finalizers = meta.get("finalizers") or []
        if "deletionTimestamp" not in meta:
            if FINALIZER not in finalizers:
                body = found | {"metadata": meta | {"finalizers": [*finalizers, FINALIZER]}}
                found = await self._client.update(kinds.SERVICE_CIDRS, body)
            await self._condition(found, "True", "", READY)
            return None
        if FINALIZER not in finalizers:
            return None
        if orphans(found, self._ranges.list(), self._addresses.list()):
            await self._condition(found, "False", "Terminating", IN_USE)
            return None
        left_s = GRACE_S - (self._clock.now() - moment(meta["deletionTimestamp"])).total_seconds()
        if left_s > 0:
            return left_s
        rest = [name for name in finalizers if name != FINALIZER]
        await self._client.update(kinds.SERVICE_CIDRS, found | {"metadata": meta | {"finalizers": rest}})
        return None

    async def _condition(self, found: Object, status: str, reason: str, message: str) -> None:
        conditions = list(found.get("status", {}).get("conditions") or ())
        present = find(conditions, "Ready")
        wanted = {"type": "Ready", "status": status, "reason": reason, "message": message}
        if present is not None and wanted.items() <= ({"reason": ""} | present).items():
            return
        same = present is not None and present["status"] == status
        wanted["lastTransitionTime"] = (
            present["lastTransitionTime"] if same and present else timestamp(self._clock.now())
        )
        kept = [each for each in conditions if each["type"] != "Ready"]
        body = found | {"status": {"conditions": [*kept, wanted]}}
        await self._client.update(kinds.SERVICE_CIDRS, body, subresource="status")
