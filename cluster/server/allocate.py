"""Cluster IPs, node ports and IP families of Services: given on create, kept over updates.

There are no books: what is taken is what stored Services hold, found through two indexes of the store. So
nothing has to be released, repaired, or recovered after a restart. A drawn address or port comes from the
upper part of its range, which leaves the lower band to those who choose theirs, as Kubernetes splits it.

Addresses come from the cluster's own range and from every ServiceCIDR that is ready. An IPAddress that
somebody made reserves its address; those of Services are made by a controller (`addresses.ip_addresses`).

Divergence: one IP family (IPv4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import chain
from typing import Any

from broker.chance import Chance
from cluster.api import errors
from cluster.api.kinds import SERVICES
from cluster.api.objects import Key, Object
from cluster.store.store import Store

NODE_PORTS = range(30000, 32768)
_PORT_BAND = 86
"""Node ports below 30086 are not drawn while there are others."""
_DRAWS = 32
_SERVICES = "services"
_RANGES, _ADDRESSES = "servicecidrs.networking.k8s.io", "ipaddresses.networking.k8s.io"
_EXTERNAL_TYPES = ("NodePort", "LoadBalancer")


def service_addresses(obj: Mapping[str, Any]) -> Sequence[str]:
    """Index function: the cluster IPs that a Service holds."""
    spec = obj["spec"]
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else ())
    return [address for address in addresses if address != "None"]


def service_ports(obj: Mapping[str, Any]) -> Sequence[str]:
    """Index function: the node ports, as "30080/TCP"; a health check's port as "…/health"."""
    spec = obj["spec"]
    found = [
        f"{p['nodePort']}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or () if p.get("nodePort")
    ]
    if spec.get("healthCheckNodePort"):
        found.append(f"{spec['healthCheckNodePort']}/health")
    return found


class ServiceAllocator:
    """Completes Services before validation. Raises Invalid where Kubernetes does."""

    def __init__(self, store: Store, *, cidr: str, chance: Chance) -> None:
        self.network = IPv4Network(cidr)
        self._store = store
        self._chance = chance
        store.add_index(_SERVICES, "address", service_addresses)
        store.add_index(_SERVICES, "node port", service_ports)

    def allocate(self, obj: Object, old: Mapping[str, Any] | None) -> None:
        """Fills in what the Service needs and does not name; checks what it names."""
        spec = obj["spec"]
        if old is not None:
            _keep_allocated(spec, old["spec"])
            _drop_of_former_type(spec, old["spec"])
            if spec.get("type") != "LoadBalancer":
                obj["status"] = {**(obj.get("status") or {}), "loadBalancer": {}}
        if spec.get("type") == "ExternalName":
            return
        _set_families(spec, obj["metadata"].get("name", ""))
        key = Key(obj["metadata"].get("namespace", ""), obj["metadata"].get("name", ""))
        self._allocate_address(spec, key)
        self._allocate_ports(spec, key)

    # --- addresses

    def _allocate_address(self, spec: Object, key: Key) -> None:
        wanted = (spec.get("clusterIPs") or [spec.get("clusterIP") or ""])[0]
        if wanted == "None":
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return
        if wanted:
            self._check_address(wanted, key)
        else:
            wanted = self._draw_address()
        spec["clusterIP"] = wanted
        spec.setdefault("clusterIPs", [wanted])

    def _check_address(self, wanted: str, key: Key) -> None:
        holders = self._store.by_index(_SERVICES, "address", wanted)
        if holders and holders[0].key == key:
            return
        if holders or self._is_reserved(wanted):
            why = "provided IP is already allocated"
        elif not self._usable(wanted):
            why = (
                f"the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {self.network}"
            )
        else:
            return
        message = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
        raise _invalid(key.name, message, "spec.clusterIPs")

    def _networks(self) -> list[IPv4Network]:
        """The cluster's own range first, then those of ServiceCIDRs that are ready."""
        found = [self.network]
        for entry in self._store.list(_RANGES):
            if "deletionTimestamp" in entry.object["metadata"]:
                continue
            conditions = (entry.object.get("status") or {}).get("conditions") or ()
            if any((c["type"], c["status"]) == ("Ready", "True") for c in conditions):
                blocks = [block for block in entry.object["spec"].get("cidrs") or () if ":" not in block]
                found += [IPv4Network(block) for block in blocks]
        return list(dict.fromkeys(found))

    def _usable(self, address: str) -> bool:
        try:
            parsed = IPv4Address(address)
        except AddressValueError:
            return False
        return any(
            parsed in network and parsed not in (network.network_address, network.broadcast_address)
            for network in self._networks()
        )

    def _is_reserved(self, address: str) -> bool:
        """Somebody made an IPAddress for another purpose than a Service."""
        found = self._store.get(_ADDRESSES, Key("", address))
        return found is not None and not _is_of_service(found.object)

    def _is_free(self, address: str) -> bool:
        return not self._store.by_index(_SERVICES, "address", address) and not self._is_reserved(address)

    def _draw_address(self) -> str:
        for network in self._networks():
            if (address := self._drawn_from(network)) is not None:
                return address
        raise errors.InternalError("failed to allocate a serviceIP: range is full")

    def _drawn_from(self, network: IPv4Network) -> str | None:
        first, size = int(network.network_address), network.num_addresses
        band = min(max(16, size // 16), 256)
        drawn = (band + self._chance.below(max(size - 1 - band, 1)) for _ in range(_DRAWS))
        for offset in chain(drawn, range(band, size - 1), range(1, min(band, size - 1))):
            address = str(IPv4Address(first + offset))
            if 0 < offset < size - 1 and self._is_free(address):
                return address
        return None

    # --- node ports

    def _allocate_ports(self, spec: Object, key: Key) -> None:
        if spec.get("type") not in _EXTERNAL_TYPES:
            return
        ports = spec.get("ports") or []
        taken = {service_port["nodePort"] for service_port in ports if service_port.get("nodePort")}
        draws = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                path = f"spec.ports[{index}].nodePort"
                self._check_port(port["nodePort"], port.get("protocol", "TCP"), key, path)
            elif draws:
                port["nodePort"] = self._draw_port(taken)
                taken.add(port["nodePort"])
        if spec["type"] != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            spec.pop("healthCheckNodePort", None)
        elif spec.get("healthCheckNodePort"):
            self._check_port(spec["healthCheckNodePort"], "health", key, "spec.healthCheckNodePort")
        else:
            spec["healthCheckNodePort"] = self._draw_port(taken)

    def _check_port(self, port: int, use: str, key: Key, path: str) -> None:
        if port not in NODE_PORTS:
            message = (
                f"Invalid value: {port}: provided port is not in the valid range. "
                f"The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
            )
            raise _invalid(key.name, message, path)
        if any(holder.key != key for holder in self._store.by_index(_SERVICES, "node port", f"{port}/{use}")):
            raise _invalid(key.name, f"Invalid value: {port}: provided port is already allocated", path)

    def _draw_port(self, taken: set[int]) -> int:
        for _ in range(_DRAWS):
            port = NODE_PORTS.start + _PORT_BAND + self._chance.below(len(NODE_PORTS) - _PORT_BAND)
            if self._free(port, taken):
                return port
        for offset in range(len(NODE_PORTS)):
            port = NODE_PORTS[(_PORT_BAND + offset) % len(NODE_PORTS)]
            if self._free(port, taken):
                return port
        raise errors.InternalError("failed to allocate a nodePort: range is full")

    def _free(self, port: int, taken: set[int]) -> bool:
        return port not in taken and not any(
            self._store.by_index(_SERVICES, "node port", f"{port}/{use}")
            for use in ("TCP", "UDP", "SCTP", "health")
        )


def _is_of_service(address: Mapping[str, Any]) -> bool:
    parent = address["spec"].get("parentRef") or {}
    return (parent.get("group", ""), parent.get("resource")) == ("", "services")


def _keep_allocated(spec: Object, old: Mapping[str, Any]) -> None:
    """An update that leaves out what was allocated keeps it, as long as the type still needs it."""
    if spec.get("type") == "ExternalName" or old.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for name in ("clusterIP", "clusterIPs"):
            if name in old:
                spec[name] = old[name]
    elif not spec.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP") and "clusterIPs" in old:
        spec["clusterIPs"] = old["clusterIPs"]
    elif not spec.get("clusterIP") and spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    for name in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and name in old:
            spec[name] = old[name]
    if spec.get("type") in _EXTERNAL_TYPES and old.get("type") in _EXTERNAL_TYPES:
        _keep_ports(spec, old)


def _keep_ports(spec: Object, old: Mapping[str, Any]) -> None:
    held = {
        (port.get("protocol"), port["port"]): port["nodePort"]
        for port in old.get("ports") or ()
        if port.get("nodePort")
    }
    named = {port.get("nodePort") for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        former = held.get((port.get("protocol"), port["port"]))
        if not port.get("nodePort") and former and former not in named:
            port["nodePort"] = former
    local = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if local and "healthCheckNodePort" in old:
        spec.setdefault("healthCheckNodePort", old["healthCheckNodePort"])


def _drop_of_former_type(spec: Object, old: Mapping[str, Any]) -> None:
    """Fields that only the former type needed go with it, unless the update changes them itself."""
    former, kind = old.get("type", "ClusterIP"), spec.get("type", "ClusterIP")
    if former == kind:
        return
    if kind == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name) == old.get(name):
                spec.pop(name, None)
    if former in _EXTERNAL_TYPES and kind not in _EXTERNAL_TYPES:
        held = [port.get("nodePort") for port in old.get("ports") or ()]
        for port in spec.get("ports") or ():
            if port.get("nodePort") in held:
                port.pop("nodePort", None)
        if spec.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
    if former == "LoadBalancer":
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"):
            if spec.get(name) == old.get(name):
                spec.pop(name, None)


def _set_families(spec: Object, name: str) -> None:
    if spec.get("clusterIP") == "None" and not spec.get("selector"):
        families = spec.get("ipFamilies") or ["IPv4"]
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        if policy != "SingleStack" and len(families) == 1:
            families = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec["ipFamilies"] = families
        return
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family == "IPv6":
            message = 'Invalid value: "IPv6": not configured on this cluster'
            raise _invalid(name, message, f"spec.ipFamilies[{index}]")
    if spec.get("ipFamilyPolicy") == "RequireDualStack":
        message = 'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'
        raise _invalid(name, message, "spec.ipFamilyPolicy")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _invalid(name: str, message: str, path: str) -> errors.Invalid:
    return errors.invalid(SERVICES, name, [errors.Cause("FieldValueInvalid", message, path)])
