"""The cluster's names, as the DNS specification for Kubernetes (1.1.0) has them and CoreDNS serves them.

Pure: a question in, records in text form out. Services have A and SRV records; headless ones those of their
ready endpoints, each of which has a name of its own (its hostname, as StatefulSets give it, or its address
with dashes); ExternalName is a CNAME, followed where it leads back into the cluster. Any address of the form
1-2-3-4.<namespace>.pod is answered, as with CoreDNS' `pods insecure`.

Divergence: IPv4 only, so an AAAA question about a known name has an empty answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import AddressValueError, IPv4Address

from agents.services.table import ServiceTable
from cluster.api.objects import Key, Object

TTL_S = 30
VERSION = "1.1.0"
LOAD_BALANCERS = "lb.kubemu.test"
"""See `cluster.controllers.load_balancer`."""
REVERSE = "in-addr.arpa"
MAX_ALIASES = 8


class Verdict(Enum):
    FOUND = "found"
    """Perhaps without a record of the type asked for."""
    NO_NAME = "there is no such name"
    FOREIGN = "not a name of this cluster"


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    """Without the final dot."""
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    records: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    zone: str = ""


@dataclass(slots=True)
class _Found:
    """What is known of one name."""

    records: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


class Names:
    def __init__(self, table: ServiceTable, domain: str = "cluster.local") -> None:
        self._table = table
        self.domain = domain

    def answer(self, name: str, type: str) -> Answer:
        """`name` without the final dot; `type` as A, AAAA, SRV, PTR, CNAME, TXT, SOA, NS or ANY."""
        name = name.lower()
        zone = next((z for z in (self.domain, LOAD_BALANCERS, REVERSE) if _within(name, z)), None)
        if zone is None:
            return Answer(Verdict.FOREIGN)
        found = self._find(name, zone)
        if found is None:
            return Answer(Verdict.NO_NAME, zone=zone)
        if name == zone and type in ("SOA", "NS"):
            data = self.authority(zone) if type == "SOA" else f"ns.dns.{zone}."
            return Answer(Verdict.FOUND, [Record(name, type, data)], zone=zone)
        records = [r for r in found.records if type in (r.type, "ANY")]
        if not records and found.records and found.records[0].type == "CNAME":
            records = self._followed(found.records[0], type)
        additional = found.additional if type == "SRV" else ()
        return Answer(Verdict.FOUND, records, additional, zone)

    def authority(self, zone: str) -> str:
        """The data of the zone's SOA record."""
        return f"ns.dns.{zone}. hostmaster.{zone}. 1 7200 1800 86400 {TTL_S}"

    def _followed(self, alias: Record, type: str) -> list[Record]:
        records = [alias]
        for _ in range(MAX_ALIASES):
            target = records[-1].data.rstrip(".").lower()
            zone = self.domain if _within(target, self.domain) else ""
            found = self._find(target, zone) if zone else None
            if found is None:
                break
            more = [r for r in found.records if r.type == type]
            if more or not found.records or found.records[0].type != "CNAME":
                return records + more
            records.append(found.records[0])
        return records

    def _find(self, name: str, zone: str) -> _Found | None:
        labels = name[: -len(zone)].rstrip(".").split(".") if name != zone else []
        if zone == REVERSE:
            return self._reverse(name, labels)
        if not labels:
            return _Found()
        if zone == LOAD_BALANCERS:
            return self._load_balancer(name, labels)
        if labels == ["dns-version"]:
            return _Found([Record(name, "TXT", f'"{VERSION}"')])
        match labels:
            case [*rest, "svc"]:
                return self._service(name, rest)
            case [address, _, "pod"]:
                return _dashed(name, address)
            case ["pod"] | [_, "pod"] | ["ns", "dns"] | ["dns"]:
                return _Found()
            case _:
                return None

    # --- services

    def _service(self, name: str, labels: Sequence[str]) -> _Found | None:
        match labels:
            case []:
                return _Found()
            case [namespace]:
                return _Found() if any(k.namespace == namespace for k in self._table.services()) else None
            case [service, namespace]:
                return self._whole(name, Key(namespace, service))
            case [host, service, namespace]:
                return self._endpoint(name, host, Key(namespace, service))
            case [port, protocol, service, namespace] if port[:1] == protocol[:1] == "_":
                return self._ports(name, Key(namespace, service), port[1:], protocol[1:])
            case _:
                return None

    def _whole(self, name: str, key: Key) -> _Found | None:
        service = self._table.service(key)
        if service is None:
            return None
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return _Found([Record(name, "CNAME", f"{spec['externalName'].rstrip('.')}.")])
        if spec.get("clusterIP") != "None":
            found = _Found([Record(name, "A", ip) for ip in spec.get("clusterIPs") or [spec["clusterIP"]]])
        else:
            hosts = dict.fromkeys(ip for _, ip, _ in self._ready(key))
            if not hosts:
                return None
            found = _Found([Record(name, "A", ip) for ip in hosts])
        served = self._ports(name, key, "*", "*")
        if served is not None:
            found.records += served.records
            found.additional += served.additional
        return found

    def _endpoint(self, name: str, host: str, key: Key) -> _Found | None:
        if self._table.service(key) is None:
            return None
        ips = dict.fromkeys(ip for hostname, ip, _ in self._ready(key) if hostname == host)
        return _Found([Record(name, "A", ip) for ip in ips]) if ips else None

    def _ports(self, name: str, key: Key, port: str, protocol: str) -> _Found | None:
        service = self._table.service(key)
        if service is None:
            return None
        base = f"{key.name}.{key.namespace}.svc.{self.domain}"
        targets: list[tuple[int, str, str]] = []
        if service["spec"].get("clusterIP") == "None":
            for host, ip, ports in self._ready(key):
                targets += [(p["port"], f"{host}.{base}", ip) for p in ports if _is(p, port, protocol)]
        elif service["spec"].get("type") != "ExternalName":
            ip = service["spec"].get("clusterIP", "")
            ports = service["spec"].get("ports") or ()
            targets = [(p["port"], base, ip) for p in ports if _is(p, port, protocol)]
        if not targets:
            return None
        weight = max(100 // len(targets), 1)
        return _Found(
            [Record(name, "SRV", f"0 {weight} {number} {target}.") for number, target, _ in targets],
            list(dict.fromkeys(Record(target, "A", ip) for _, target, ip in targets)),
        )

    def _ready(self, key: Key) -> Iterator[tuple[str, str, Sequence[Object]]]:
        """Host name, address and ports of each ready endpoint."""
        for piece in self._table.slices(key):
            if piece.get("addressType") != "IPv4":
                continue
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    ip = endpoint["addresses"][0]
                    yield endpoint.get("hostname") or ip.replace(".", "-"), ip, piece.get("ports") or ()

    def _load_balancer(self, name: str, labels: Sequence[str]) -> _Found | None:
        service = self._table.service(Key(labels[1], labels[0])) if len(labels) == 2 else None
        entries = (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        records = [Record(name, "A", entry["ip"]) for entry in entries if entry.get("hostname") == name]
        return _Found(records) if records else None

    # --- addresses

    def _reverse(self, name: str, labels: Sequence[str]) -> _Found | None:
        if len(labels) != 4:
            return _Found() if len(labels) < 4 else None
        targets = list(self._names_of(".".join(reversed(labels))))
        return _Found([Record(name, "PTR", f"{target}.") for target in targets]) if targets else None

    def _names_of(self, ip: str) -> Iterable[str]:
        for key in self._table.services():
            service = self._table.service(key)
            assert service is not None
            base = f"{key.name}.{key.namespace}.svc.{self.domain}"
            if service["spec"].get("clusterIP") == ip:
                yield base
            elif service["spec"].get("clusterIP") == "None":
                yield from (f"{host}.{base}" for host, address, _ in self._ready(key) if address == ip)


def _within(name: str, zone: str) -> bool:
    return name == zone or name.endswith("." + zone)


def _dashed(name: str, text: str) -> _Found | None:
    try:
        return _Found([Record(name, "A", str(IPv4Address(text.replace("-", "."))))])
    except AddressValueError:
        return None


def _is(port: Object, name: str, protocol: str) -> bool:
    if name == protocol == "*":
        return True
    return (port.get("name") or "").lower() == name and port.get("protocol", "TCP").lower() == protocol
