"""Tables of services, endpoints, ingresses and network policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cluster.api.tables.columns import (
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Layout,
    age,
    format_labels,
    format_selector,
    layout,
    name,
    or_none,
    some,
)

_Object = Mapping[str, Any]


def _service(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    return [
        name(obj),
        spec.get("type", ""),
        or_none(spec.get("clusterIP")),
        _external_ip(spec, obj.get("status", {})),
        or_none(",".join(_port(port) for port in spec.get("ports") or ())),
        age(obj, now),
        format_labels(spec.get("selector")),
    ]


def _port(port: _Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _external_ip(spec: _Object, status: _Object) -> str:
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return or_none(",".join(external))
        case "LoadBalancer":
            addresses = [a for a in _load_balancer(status).split(",") if a]
            return ",".join(addresses + external) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _load_balancer(status: _Object) -> str:
    ingress = status.get("loadBalancer", {}).get("ingress") or ()
    return ",".join(sorted({i.get("ip") or i.get("hostname") or "" for i in ingress} - {""}))


def _endpoints(obj: _Object, now: datetime) -> Cells:
    subsets = obj.get("subsets") or ()
    shown = [
        _host_port(address["ip"], port["port"]) if port else address["ip"]
        for subset in subsets
        for port in subset.get("ports") or (None,)
        for address in subset.get("addresses") or ()
    ]
    return [name(obj), some(shown) if subsets else NONE, age(obj, now)]


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoint_slice(obj: _Object, now: datetime) -> Cells:
    ports = [str(p.get("port") or p.get("name") or "*") for p in obj.get("ports") or ()]
    addresses = [a for endpoint in obj.get("endpoints") or () for a in endpoint.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        some(ports) or UNSET,
        some(addresses) or UNSET,
        age(obj, now),
    ]


def _ingress(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    return [
        name(obj),
        or_none(spec.get("ingressClassName")),
        _hosts(spec.get("rules") or ()),
        _load_balancer(obj.get("status", {})),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _hosts(rules: Any) -> str:
    shown: list[str] = []
    more = False
    for rule in rules:
        more = more or len(shown) == 3
        if not more and rule.get("host"):
            shown.append(rule["host"])
    joined = ",".join(shown) or "*"
    return f"{joined} + {len(rules) - 3} more..." if more else joined


def _ingress_class(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    shown, parameters = NONE, spec.get("parameters")
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [name(obj), spec.get("controller", ""), shown, age(obj, now)]


def _network_policy(obj: _Object, now: datetime) -> Cells:
    return [name(obj), format_selector(obj.get("spec", {}).get("podSelector")), age(obj, now)]


def _service_cidr(obj: _Object, now: datetime) -> Cells:
    return [name(obj), ",".join(obj.get("spec", {}).get("cidrs") or ()), age(obj, now)]


def _ip_address(obj: _Object, now: datetime) -> Cells:
    parent = obj.get("spec", {}).get("parentRef") or {}
    parts = [parent.get("resource", ""), parent.get("namespace", ""), parent.get("name", "")]
    shown = "/".join(part for part in parts if part)
    if parent.get("group"):
        shown = shown.replace(parts[0], f"{parts[0]}.{parent['group']}", 1)
    return [name(obj), shown, age(obj, now)]


LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("", "services"): layout(
        _service, "Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"
    ),
    ("", "endpoints"): layout(_endpoints, "Name", "Endpoints", "Age"),
    ("discovery.k8s.io", "endpointslices"): layout(
        _endpoint_slice, "Name", "AddressType", "Ports", "Endpoints", "Age"
    ),
    ("networking.k8s.io", "ingresses"): layout(_ingress, "Name", "Class", "Hosts", "Address", "Ports", "Age"),
    ("networking.k8s.io", "ingressclasses"): layout(
        _ingress_class, "Name", "Controller", "Parameters", "Age"
    ),
    ("networking.k8s.io", "networkpolicies"): layout(_network_policy, "Name", "Pod-Selector", "Age"),
    ("networking.k8s.io", "servicecidrs"): layout(_service_cidr, "Name", "CIDRs", "Age"),
    ("networking.k8s.io", "ipaddresses"): layout(_ip_address, "Name", "ParentRef", "Age"),
}
