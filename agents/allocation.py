"""What the pods of a node may use together: admitted requests, host ports, and resizes in place.

A pure book, kept like the kubelet's: a pod that was admitted counts until its containers are down for good,
or its object is gone. The first shortage is the reason of a refusal, in the scheduler's order: pods, CPU,
memory, ephemeral storage, then the others that the node has. Amounts are thousandths of a core for CPU, and
whole units for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.quota import pod_total

Amounts = dict[str, int]
WILDCARDS = ("", "0.0.0.0", "::")
_FIRST = ("cpu", "memory", "ephemeral-storage")


class Refusal(NamedTuple):
    reason: str
    message: str


class HostPort(NamedTuple):
    ip: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one admitted pod holds."""

    requests: Amounts
    ports: tuple[HostPort, ...]


def requests_of(pod: Object) -> Amounts:
    total = pod_total(pod["spec"], "requests")
    return {name: _units(name, amount) for name, amount in total.items() if amount}


def _units(name: str, amount: Any) -> int:
    units: int = amount.milli() if name == "cpu" else amount.value()
    return units


def host_ports(pod: Object) -> Iterator[HostPort]:
    spec = pod["spec"]
    sidecars = (c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always")
    for container in (*spec["containers"], *sidecars):
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield HostPort(port.get("hostIP", ""), port.get("protocol", "TCP"), port["hostPort"])


class Allocation:
    """The book of one node."""

    def __init__(self, allocatable: Mapping[str, str]) -> None:
        self._capacity = {name: _units(name, parse(text)) for name, text in allocatable.items()}
        self._shares: dict[str, Share] = {}
        self._used: Amounts = {}

    def admit(self, uid: str, pod: Object) -> Refusal | None:
        """Books the pod, or says why there is no room. Its own earlier booking counts for nothing."""
        self.release(uid)
        share = Share(requests_of(pod), tuple(host_ports(pod)))
        refusal = self._shortage(share.requests, {}, pods=1) or self._conflict(share.ports)
        if refusal is None:
            self._book(uid, share)
        return refusal

    def release(self, uid: str) -> bool:
        """Whether the pod had anything."""
        share = self._shares.pop(uid, None)
        if share is None:
            return False
        for name, amount in share.requests.items():
            self._used[name] -= amount
        return True

    def resize(self, uid: str, pod: Object) -> Refusal | None:
        """Books the pod's changed requests; or Infeasible, where even an empty node has too little, or
        Deferred, where others would have to go first."""
        wanted = requests_of(pod)
        for name in ("memory", "cpu"):
            if wanted.get(name, 0) > self._capacity.get(name, 0):
                figures = f"requested: {wanted[name]}, capacity: {self._capacity.get(name, 0)}"
                return Refusal("Infeasible", f"Node didn't have enough capacity: {name}, {figures}")
        known = self._shares.get(uid, Share({}, ()))
        short = self._shortage(wanted, known.requests, pods=0)
        if short is not None:
            return Refusal("Deferred", short.message)
        self.release(uid)
        self._book(uid, Share(wanted, known.ports))
        return None

    def _book(self, uid: str, share: Share) -> None:
        self.release(uid)
        self._shares[uid] = share
        for name, amount in share.requests.items():
            self._used[name] = self._used.get(name, 0) + amount

    def _shortage(self, wanted: Amounts, held: Amounts, *, pods: int) -> Refusal | None:
        """`held` of what is used is the pod's own."""
        if len(self._shares) + pods > self._capacity.get("pods", 0):
            return _short("pods", pods, len(self._shares), self._capacity.get("pods", 0))
        for name in (*_FIRST, *(name for name in wanted if name not in _FIRST)):
            capacity = self._capacity.get(name)
            if not wanted.get(name) or capacity is None:
                continue  # what the node does not know of is none of its business
            used = self._used.get(name, 0) - held.get(name, 0)
            if used + wanted[name] > capacity:
                return _short(name, wanted[name], used, capacity)
        return None

    def _conflict(self, ports: tuple[HostPort, ...]) -> Refusal | None:
        if not ports:
            return None
        taken = [port for share in self._shares.values() for port in share.ports]
        if any(_clash(own, other) for own in ports for other in taken):
            why = "node(s) didn't have free ports for the requested pod ports"
            return failed_predicate("NodePorts", why)
        return None


def failed_predicate(name: str, why: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {why}")


def _short(name: str, wanted: int, used: int, capacity: int) -> Refusal:
    figures = f"requested: {wanted}, used: {used}, capacity: {capacity}"
    return Refusal(f"OutOf{name}", f"Node didn't have enough resource: {name}, {figures}")


def _clash(one: HostPort, other: HostPort) -> bool:
    if (one.port, one.protocol) != (other.port, other.protocol):
        return False
    return one.ip == other.ip or one.ip in WILDCARDS or other.ip in WILDCARDS
