"""Gives each node a range of pod addresses out of the cluster's, as kube-controller-manager's
--allocate-node-cidrs does. The only writer of spec.podCIDR; the node gateway waits for it before an agent
may start pods.

Divergence: one address family.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from cluster.api import kinds
from cluster.api.objects import Key, Object
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "node-ipam-controller"
NODE_PREFIX_BITS = 24
RETRY_S = 30.0
"""How soon a node that got no range is looked at again."""


class Ranges:
    """The ranges of one cluster CIDR. Freed ones are reused last, so that a new node does not get the
    addresses of one that has just gone."""

    def __init__(self, cluster_cidr: str) -> None:
        network = ip_network(cluster_cidr)
        assert isinstance(network, IPv4Network)
        self._base = int(network.network_address)
        self._count = 1 << max(NODE_PREFIX_BITS - network.prefixlen, 0)
        self._taken: dict[int, None] = {}
        self._next = 0

    def take(self, cidr: str) -> None:
        """Notes a range that a node already has; foreign ranges are ignored."""
        if (number := self._number(cidr)) is not None:
            self._taken[number] = None

    def free(self, cidr: str) -> None:
        if (number := self._number(cidr)) is not None:
            self._taken.pop(number, None)

    def allocate(self) -> str | None:
        for step in range(self._count):
            number = (self._next + step) % self._count
            if number not in self._taken:
                self._taken[number] = None
                self._next = (number + 1) % self._count
                return str(IPv4Network((self._base + (number << 32 - NODE_PREFIX_BITS), NODE_PREFIX_BITS)))
        return None

    def _number(self, cidr: str) -> int | None:
        network = ip_network(cidr, strict=False)
        if not isinstance(network, IPv4Network) or network.prefixlen != NODE_PREFIX_BITS:
            return None
        number = (int(network.network_address) - self._base) >> (32 - NODE_PREFIX_BITS)
        return number if 0 <= number < self._count else None


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    reconciler = NodeIpam(world)
    nodes = world.informers.of(kinds.NODES)
    watches = [(nodes, reconciler.on_node), (nodes, enqueue(queue))]
    return Controller(reconciler, queue, watches=watches, workers=1)


class NodeIpam:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._nodes = world.informers.of(kinds.NODES)
        self._recorder = world.recorder("cidrAllocator")
        self._ranges = Ranges(world.cluster_cidr)

    def on_node(self, old: Object | None, new: Object | None, cause: str) -> None:
        """Keeps the account of taken ranges."""
        if new is None and old is not None and (cidr := old["spec"].get("podCIDR")):
            self._ranges.free(cidr)
        elif new is not None and (cidr := new["spec"].get("podCIDR")):
            self._ranges.take(cidr)

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(key)
        if node is None or node["spec"].get("podCIDR"):
            return None
        cidr = self._ranges.allocate()
        if cidr is None:
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self._recorder.event(node, "Normal", "CIDRNotAvailable", message)
            return RETRY_S
        patch = {
            "metadata": {"uid": node["metadata"]["uid"]},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        }
        written = False
        try:
            await self._client.patch(kinds.NODES, key.name, patch)
            written = True
        finally:
            if not written:
                self._ranges.free(cidr)
        return None
