"""What kube-proxy knows: Services and their endpoints, and who may get a connection.

Pure bookkeeping. Objects come in as they change; what follows from them (a Service's frontends, its
endpoints, see `choices`) is worked out when somebody asks and kept until the Service or one of its slices
changes, so an endpoint that comes or goes costs nothing before the next connection.

Cluster traffic goes round robin, that of Services with session affinity by `affinity`. The policies that
keep traffic on a node mean the client's node for cluster IPs and the node that was asked for all others;
what pods send to the latter goes to any endpoint, since it never left the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network

from agents.services.affinity import Affinity
from agents.services.choices import Backend, Choices, anyone, choices_of, is_ready
from agents.services.whereabouts import Whereabouts
from cluster.api.objects import Key, Object, key_of

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
LOCALHOST = "127.0.0.1"
AFFINITY_S = 10800
"""Of Services that don't say how long; the API's default."""


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


class ServiceTable:
    """`now` in seconds, for the time-outs of session affinity."""

    def __init__(self, where: Whereabouts, now: Callable[[], float]) -> None:
        self._where = where
        self._affinity = Affinity(now, where.sees_all_of)
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._owner: dict[tuple[str, str], Key] = {}
        """The Service of each slice, by the slice's namespace and name."""
        self._choices: dict[Key, dict[tuple[str, str], Choices]] = {}
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
        """The Service that it belongs to, or belonged to."""
        meta = piece["metadata"]
        name = (meta.get("labels") or {}).get(SERVICE_NAME)
        former = self._owner.get((meta["namespace"], meta["name"]))
        if former is not None and former.name != name:
            self.drop_slice(meta["namespace"], meta["name"])
        if not name:
            return former
        key = Key(meta["namespace"], name)
        self._slices.setdefault(key, {})[meta["name"]] = piece
        self._owner[meta["namespace"], meta["name"]] = key
        self._forget(key)
        return key

    def drop_slice(self, namespace: str, name: str) -> Key | None:
        key = self._owner.pop((namespace, name), None)
        if key is not None:
            pieces = self._slices[key]
            del pieces[name]
            if not pieces:
                del self._slices[key]
            self._forget(key)
        return key

    def _forget(self, key: Key) -> None:
        self._choices.pop(key, None)

    # --- what follows

    def services(self) -> list[Key]:
        return list(self._services)

    def service(self, key: Key) -> Object | None:
        return self._services.get(key)

    def slices(self, key: Key) -> Iterable[Object]:
        return self._slices.get(key, {}).values()

    def frontends(self, key: Key) -> list[Frontend]:
        """Where connections to this Service are taken; ports without any endpoint refuse them."""
        service = self._services.get(key)
        if service is None or not _is_proxied(service):
            return []
        found = []
        for port in service["spec"].get("ports") or ():
            name, protocol = port.get("name", ""), port.get("protocol", "TCP")
            if protocol == "SCTP":
                continue
            nobody = not anyone(self.slices(key), name, protocol)
            for entry, ip, number in _entries(service, port, self._where.node_ips):
                refuses = nobody
                if not nobody and _stays_local(service["spec"], entry):
                    here = self._where.nodes_at(ip)
                    refuses = not anyone(self.slices(key), name, protocol, here)
                found.append(Frontend(Address(protocol, ip, number), key, name, entry, refuses))
        return found

    def local_endpoints(self, key: Key, node_ip: str) -> int:
        """How many ready pods of the Service the node has."""
        here = self._where.nodes_at(node_ip)
        found = {
            endpoint["addresses"][0]
            for piece in self.slices(key)
            for endpoint in piece.get("endpoints") or ()
            if endpoint.get("nodeName") in here and is_ready(endpoint)
        }
        return len(found)

    def choices(self, key: Key, port_name: str, protocol: str) -> Choices:
        """All endpoints that connections may go to now."""
        of_service = self._choices.setdefault(key, {})
        known = of_service.get((port_name, protocol))
        if known is None:
            known = of_service[port_name, protocol] = choices_of(self.slices(key), port_name, protocol)
        return known

    def pick(self, frontend: Frontend, client: str) -> Backend | None:
        """The endpoint for a new connection of this client; None refuses it."""
        service = self._services.get(frontend.service)
        if service is None or not _lets_in(service, frontend.entry, client):
            return None
        spec, protocol = service["spec"], frontend.address.protocol
        choices = self.choices(frontend.service, frontend.port_name, protocol)
        backends = self._candidates(spec, choices, frontend, client)
        if not backends:
            return None
        identity = (frontend.service, frontend.port_name, protocol)
        if spec.get("sessionAffinity") == "ClientIP":
            return self._affinity.choose(identity, client, backends, _affinity_s(spec))
        turn = self._turns.get(identity, 0)
        self._turns[identity] = turn + 1
        return backends[turn % len(backends)]

    def drops(self, frontend: Frontend) -> bool:
        """Whether a connection that has no endpoint is dropped and not refused: others may have one."""
        return bool(self.choices(frontend.service, frontend.port_name, frontend.address.protocol).every)

    def serves(self, frontend: Frontend, target: tuple[str, int]) -> bool:
        """Whether the target is still an endpoint."""
        choices = self.choices(frontend.service, frontend.port_name, frontend.address.protocol)
        return target in choices.targets

    def _candidates(
        self, spec: Mapping[str, object], choices: Choices, frontend: Frontend, client: str
    ) -> Sequence[Backend]:
        inward = frontend.entry is Entry.CLUSTER_IP
        if _stays_local(spec, frontend.entry) and (inward or not self._where.is_pod(client)):
            return choices.on(self._where.nodes_at(client if inward else frontend.address.ip))
        if not choices.hinted:
            return choices.every
        nodes = self._where.nodes_at(client)
        node = next(iter(nodes), "")
        return choices.near(node, self._where.zone_of(node))


def _affinity_s(spec: Mapping[str, object]) -> float:
    config = spec.get("sessionAffinityConfig")
    seconds = ((config if isinstance(config, dict) else {}).get("clientIP") or {}).get("timeoutSeconds")
    return float(seconds or AFFINITY_S)


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


def _stays_local(spec: Mapping[str, object], entry: Entry) -> bool:
    policy = "internalTrafficPolicy" if entry is Entry.CLUSTER_IP else "externalTrafficPolicy"
    return spec.get(policy) == "Local"


def _lets_in(service: Object, entry: Entry, client: str) -> bool:
    ranges = service["spec"].get("loadBalancerSourceRanges")
    if not ranges or entry is not Entry.LOAD_BALANCER or not client:
        return True
    address = ip_address(client)
    return any(address in ip_network(text.strip(), strict=False) for text in ranges)
