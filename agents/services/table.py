"""What kube-proxy knows: Services and their endpoints, and who may get a connection.

Pure bookkeeping. Objects come in as they change; what follows from them (a Service's frontends, its
backends) is worked out when somebody asks and kept until the Service or one of its slices changes, so an
endpoint that comes or goes costs nothing before the next connection.

Ready endpoints get connections; where there is none, those that still serve while they terminate. Cluster
traffic goes round robin. Session affinity picks by rendezvous hashing of the client's address: every
agent on a machine gives the same client the same endpoint without telling the others.

Divergence: affinity has no time-out, and a share of the clients moves when an endpoint is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network

from cluster.api.objects import Key, Object, key_of

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
LOCALHOST = "127.0.0.1"


class Entry(Enum):
    """How a connection gets to a Service."""

    CLUSTER_IP = "clusterIP"
    NODE_PORT = "nodePort"
    LOAD_BALANCER = "loadBalancer"
    EXTERNAL_IP = "externalIP"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Service is reached."""

    protocol: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Frontend:
    """One port of a Service at one address."""

    address: Address
    service: Key
    port_name: str
    entry: Entry
    refuses: bool = False
    """There is no endpoint: nobody listens."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint of one port of a Service."""

    ip: str
    port: int
    node: str


class ServiceTable:
    """`node_of`: the node that a client's address belongs to, empty where nobody knows."""

    def __init__(self, node_of: Callable[[str], str]) -> None:
        self._node_of = node_of
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._backends: dict[tuple[Key, str, str], list[Backend]] = {}
        self._turns: dict[tuple[Key, str, str], int] = {}

    # --- what comes in

    def set_service(self, service: Object) -> None:
        key = key_of(service)
        self._services[key] = service
        self._forget(key)

    def drop_service(self, key: Key) -> None:
        self._services.pop(key, None)
        self._forget(key)

    def set_slice(self, piece: Object) -> Key | None:
        """The Service that it belongs to."""
        meta = piece["metadata"]
        name = (meta.get("labels") or {}).get(SERVICE_NAME)
        if not name:
            return None
        key = Key(meta["namespace"], name)
        self._slices.setdefault(key, {})[meta["name"]] = piece
        self._forget(key)
        return key

    def drop_slice(self, namespace: str, name: str) -> Key | None:
        for key, pieces in self._slices.items():
            if key.namespace == namespace and name in pieces:
                del pieces[name]
                if not pieces:
                    del self._slices[key]
                self._forget(key)
                return key
        return None

    def _forget(self, key: Key) -> None:
        for known in [known for known in self._backends if known[0] == key]:
            del self._backends[known]

    # --- what follows

    def services(self) -> list[Key]:
        return list(self._services)

    def service(self, key: Key) -> Object | None:
        return self._services.get(key)

    def slices(self, key: Key) -> Iterable[Object]:
        return self._slices.get(key, {}).values()

    def frontends(self, key: Key, node_ips: Sequence[str]) -> list[Frontend]:
        """Where connections to this Service are taken; ports without any endpoint refuse them."""
        service = self._services.get(key)
        if service is None or not _is_proxied(service):
            return []
        found = []
        for port in service["spec"].get("ports") or ():
            name, protocol = port.get("name", ""), port.get("protocol", "TCP")
            if protocol == "SCTP":
                continue
            refuses = not _anyone(self.slices(key), name, protocol)
            for entry, ip, number in _entries(service, port, node_ips):
                found.append(Frontend(Address(protocol, ip, number), key, name, entry, refuses))
        return found

    def backends(self, key: Key, port_name: str, protocol: str) -> list[Backend]:
        """All endpoints that connections may go to now."""
        identity = (key, port_name, protocol)
        known = self._backends.get(identity)
        if known is None:
            known = self._backends[identity] = _backends(self.slices(key), port_name, protocol)
        return known

    def pick(self, frontend: Frontend, client: str) -> Backend | None:
        """The endpoint for a new connection of this client; None refuses it."""
        service = self._services.get(frontend.service)
        if service is None or not _lets_in(service, frontend.entry, client):
            return None
        protocol = frontend.address.protocol
        backends = self.backends(frontend.service, frontend.port_name, protocol)
        if _stays_local(service["spec"], frontend.entry):
            here = self._node_of(client if frontend.entry is Entry.CLUSTER_IP else frontend.address.ip)
            backends = [backend for backend in backends if backend.node == here]
        if not backends:
            return None
        if service["spec"].get("sessionAffinity") == "ClientIP":
            return max(backends, key=lambda backend: _rank(client, backend))
        identity = (frontend.service, frontend.port_name, protocol)
        turn = self._turns.get(identity, 0)
        self._turns[identity] = turn + 1
        return backends[turn % len(backends)]


def _is_proxied(service: Object) -> bool:
    spec = service["spec"]
    if PROXY_NAME in (service["metadata"].get("labels") or {}):
        return False
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def _entries(service: Object, port: Object, node_ips: Sequence[str]) -> Iterable[tuple[Entry, str, int]]:
    spec, number = service["spec"], port["port"]
    for ip in spec.get("clusterIPs") or [spec["clusterIP"]]:
        yield Entry.CLUSTER_IP, ip, number
    for ip in spec.get("externalIPs") or ():
        yield Entry.EXTERNAL_IP, ip, number
    for ingress in (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
            yield Entry.LOAD_BALANCER, ingress["ip"], number
    if port.get("nodePort"):
        for ip in (*node_ips, LOCALHOST):
            yield Entry.NODE_PORT, ip, port["nodePort"]


def _anyone(slices: Iterable[Object], port_name: str, protocol: str) -> bool:
    """Whether `_backends` would find any: after most changes the first endpoint tells."""
    return any(
        _serves(endpoint)
        for piece in slices
        if piece.get("addressType") == "IPv4"
        for port in piece.get("ports") or ()
        if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol
        for endpoint in piece.get("endpoints") or ()
    )


def _serves(endpoint: Object) -> bool:
    conditions = endpoint.get("conditions") or {}
    if conditions.get("ready") is not False:
        return True
    return bool(conditions.get("serving") and conditions.get("terminating"))


def _backends(slices: Iterable[Object], port_name: str, protocol: str) -> list[Backend]:
    ready: dict[Backend, None] = {}
    leaving: dict[Backend, None] = {}
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for port in piece.get("ports") or ():
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol:
                for endpoint in piece.get("endpoints") or ():
                    _sort_in(endpoint, port.get("port") or 0, ready, leaving)
    return list(ready or leaving)


def _sort_in(endpoint: Object, port: int, ready: dict[Backend, None], leaving: dict[Backend, None]) -> None:
    conditions = endpoint.get("conditions") or {}
    backend = Backend(endpoint["addresses"][0], port, endpoint.get("nodeName") or "")
    if conditions.get("ready") is not False:
        ready[backend] = None
    elif conditions.get("serving") and conditions.get("terminating"):
        leaving[backend] = None


def _stays_local(spec: Mapping[str, object], entry: Entry) -> bool:
    policy = "internalTrafficPolicy" if entry is Entry.CLUSTER_IP else "externalTrafficPolicy"
    return spec.get(policy) == "Local"


def _lets_in(service: Object, entry: Entry, client: str) -> bool:
    ranges = service["spec"].get("loadBalancerSourceRanges")
    if not ranges or entry is not Entry.LOAD_BALANCER or not client:
        return True
    address = ip_address(client)
    return any(address in ip_network(text.strip(), strict=False) for text in ranges)


def _rank(client: str, backend: Backend) -> bytes:
    return hashlib.blake2b(f"{client}>{backend.ip}:{backend.port}".encode(), digest_size=8).digest()
