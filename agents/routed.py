"""The routed network: pod addresses of the cluster's own range, reachable from every node.

For machines or containers of their own (compose), with CAP_NET_ADMIN: a pod's address is put on the node's
loopback interface, so that the same sockets serve it as in `agents.loopback`, and each node has a route to
the pod range of every other one by way of that node's address. Service addresses are put on the loopback
interface of each node alike: every node answers for all Services itself.

Divergence: a pod is not a network namespace of its own, so a node's pods and the node share the ports of
0.0.0.0; a pod reaches its neighbours on the same node through the kernel's loopback.
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from agents import netlink
from agents.loopback import LoopbackNetwork


class RoutedNetwork(LoopbackNetwork):
    """`agents.network.Network` with addresses and routes in the kernel."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    async def attach(self, ip: str) -> None:
        await super().attach(ip)
        netlink.add_address(ip)

    async def detach(self, ip: str) -> None:
        await super().detach(ip)
        netlink.remove_address(ip)

    def own(self, pod_cidr: str) -> None:
        """The node's range: what is sent to an address without a pod is not passed on out of the cluster."""
        try:
            netlink.refuse_route(pod_cidr)
        except OSError as error:
            self._log.warning("no route", pods=pod_cidr, why=str(error))

    def route(self, pod_cidr: str, via: str) -> None:
        """Another node's pods are reached by way of this address; empty: they are gone. May be repeated."""
        try:
            if via:
                netlink.replace_route(pod_cidr, via)
            else:
                netlink.remove_route(pod_cidr)
        except OSError as error:
            self._log.warning("no route", pods=pod_cidr, via=via, why=str(error))
