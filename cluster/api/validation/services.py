"""Service, Endpoints, EndpointSlice."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.metadata import validate_labels
from cluster.api.validation.report import Report

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_AFFINITY_S = 86400


def validate_service(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    kind = spec.get("type", "")
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    headless = addresses[:1] == ["None"]
    if not spec.get("ports") and not headless and kind != "ExternalName":
        report.required("spec.ports")
    if kind == "LoadBalancer" and headless:
        report.invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services")
    elif kind == "NodePort" and headless:
        report.invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services")
    elif kind == "ExternalName":
        _validate_external_name(spec, addresses, report)
    _validate_ports(spec, kind, headless, report)
    if selector := spec.get("selector"):
        validate_labels(selector, "spec.selector", report)
    _validate_affinity(spec, report)
    for index, address in enumerate(addresses):
        if address != "None":
            report.invalid_each(f"spec.clusterIPs[{index}]", address, formats.ip_address(address))
    for index, address in enumerate(spec.get("externalIPs") or ()):
        report.invalid_each(f"spec.externalIPs[{index}]", address, formats.ip_address(address))
    report.one_of("spec.type", kind, _TYPES)
    for index, source in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        report.invalid_each(f"spec.loadBalancerSourceRanges[{index}]", source, formats.cidr(source))
    if "loadBalancerSourceRanges" in spec and kind != "LoadBalancer":
        report.forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    if "loadBalancerClass" in spec and kind != "LoadBalancer":
        report.forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
    if "allocateLoadBalancerNodePorts" in spec and kind != "LoadBalancer":
        report.forbidden(
            "spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'"
        )
    _validate_traffic_policies(spec, kind, report)
    report.one_of("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), _FAMILY_POLICIES, needed=False)
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        report.one_of(f"spec.ipFamilies[{index}]", family, _FAMILIES)


def _validate_external_name(spec: Object, addresses: list[str], report: Report) -> None:
    if addresses:
        report.forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        report.required("spec.externalName")
    else:
        report.invalid_each("spec.externalName", name, formats.dns_subdomain(name))


def _validate_ports(spec: Object, kind: str, headless: bool, report: Report) -> None:
    ports = spec.get("ports") or ()
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        _validate_port(port, here, len(ports) > 1, names, headless, report)
        protocol, number = port.get("protocol", ""), port["port"]
        if node_port := port.get("nodePort"):
            if kind not in ("NodePort", "LoadBalancer"):
                report.forbidden(f"{here}.nodePort", f"may not be used when `type` is '{kind}'")
            elif (protocol, node_port) in node_ports:
                report.duplicate(f"{here}.nodePort", node_port)
            node_ports.add((protocol, node_port))
        if (protocol, number) in numbers:
            report.duplicate(here, _shown_port(protocol, number))
        numbers.add((protocol, number))


def _shown_port(protocol: str, number: int) -> Object:
    """As the message shows Kubernetes' internal type."""
    return {
        "Name": "", "Protocol": protocol, "AppProtocol": None, "Port": number, "TargetPort": 0, "NodePort": 0,
    }  # fmt: skip


def _validate_port(
    port: Object, path: str, several: bool, names: set[str], headless: bool, report: Report
) -> None:
    name = port.get("name", "")
    if several and not name:
        report.required(f"{path}.name")
    elif name:
        if wrong := formats.dns_label(name):
            report.invalid_each(f"{path}.name", name, wrong)
        elif name in names:
            report.duplicate(f"{path}.name", name)
        names.add(name)
    report.invalid_each(f"{path}.port", port["port"], formats.port_number(port["port"]))
    report.one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
    target = port.get("targetPort", 0)
    report.invalid_each(f"{path}.targetPort", target, formats.port_number_or_name(target))
    if application := port.get("appProtocol"):
        report.invalid_each(f"{path}.appProtocol", application, formats.qualified_name(application))


def _validate_affinity(spec: Object, report: Report) -> None:
    affinity = spec.get("sessionAffinity")
    report.one_of("spec.sessionAffinity", affinity, _AFFINITIES)
    config = spec.get("sessionAffinityConfig")
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        if seconds is None:
            report.required("spec.sessionAffinityConfig", "when session affinity type is ClientIP")
        elif not 0 < seconds <= _MAX_AFFINITY_S:
            report.invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {_MAX_AFFINITY_S}",
            )
    elif affinity == "None" and config is not None:
        report.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def _validate_traffic_policies(spec: Object, kind: str, report: Report) -> None:
    external, internal = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    exposed = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs"))
    if external:
        if not exposed:
            report.invalid(
                "spec.externalTrafficPolicy", external, "may only be set for externally-accessible services"
            )
        report.one_of("spec.externalTrafficPolicy", external, _POLICIES)
    elif exposed:
        report.required("spec.externalTrafficPolicy")
    if internal:
        report.one_of("spec.internalTrafficPolicy", internal, _POLICIES)


def validate_service_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    spec, former = new["spec"], old["spec"]
    if spec.get("type") != "ExternalName" and former.get("type") != "ExternalName":
        before, after = former.get("clusterIPs") or [], spec.get("clusterIPs") or []
        if before and not after:
            report.invalid("spec.clusterIPs[0]", after, "primary clusterIP can not be unset")
        elif before and after[0] != before[0]:
            report.invalid("spec.clusterIPs[0]", after, "may not change once set")
        families, earlier = spec.get("ipFamilies") or [], former.get("ipFamilies") or []
        if earlier and families[:1] != earlier[:1]:
            report.invalid("spec.ipFamilies[0]", families, "may not change once set")
    if spec.get("type") == former.get("type") == "LoadBalancer" and spec.get(
        "loadBalancerClass"
    ) != former.get("loadBalancerClass"):
        report.invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")
    validate_service(new, report)


def validate_endpoints(obj: Object, report: Report) -> None:
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        ready, waiting = subset.get("addresses") or (), subset.get("notReadyAddresses") or ()
        if not ready and not waiting:
            report.required(path, "must specify `addresses` or `notReadyAddresses`")
        for field, addresses in (("addresses", ready), ("notReadyAddresses", waiting)):
            for position, address in enumerate(addresses):
                _validate_endpoint_address(address, f"{path}.{field}[{position}]", report)
        ports = subset.get("ports") or ()
        for position, port in enumerate(ports):
            _validate_endpoint_port(port, f"{path}.ports[{position}]", len(ports) > 1, report)


def _validate_endpoint_address(address: Object, path: str, report: Report) -> None:
    report.invalid_each(f"{path}.ip", address["ip"], formats.ip_address(address["ip"]))
    if host := address.get("hostname"):
        report.invalid_each(f"{path}.hostname", host, formats.dns_label(host))
    if node := address.get("nodeName"):
        report.invalid_each(f"{path}.nodeName", node, formats.dns_subdomain(node))


def _validate_endpoint_port(port: Object, path: str, several: bool, report: Report) -> None:
    name = port.get("name", "")
    if several and not name:
        report.required(f"{path}.name")
    elif name:
        report.invalid_each(f"{path}.name", name, formats.dns_label(name))
    report.invalid_each(f"{path}.port", port["port"], formats.port_number(port["port"]))
    report.one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)


def validate_endpoint_slice(obj: Object, report: Report) -> None:
    kind = obj.get("addressType", "")
    report.one_of("addressType", kind, _ADDRESS_TYPES)
    endpoints, ports = obj.get("endpoints") or (), obj.get("ports") or ()
    if len(endpoints) > 1000:
        report.too_many("endpoints", len(endpoints), 1000)
        return
    for index, endpoint in enumerate(endpoints):
        _validate_slice_endpoint(endpoint, f"endpoints[{index}]", kind, report)
    if len(ports) > 20000:
        report.too_many("ports", len(ports), 20000)
        return
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"ports[{index}]"
        name = port.get("name", "")
        if name in names:
            report.duplicate(f"{here}.name", name)
        names.add(name)
        if name:
            report.invalid_each(f"{here}.name", name, formats.dns_label(name))
        report.one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        if (number := port.get("port")) is not None:
            report.invalid_each(f"{here}.port", number, formats.port_number(number))


def _validate_slice_endpoint(endpoint: Object, path: str, kind: str, report: Report) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        report.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > 100:
        report.too_many(f"{path}.addresses", len(addresses), 100)
    for index, address in enumerate(addresses):
        here = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            report.invalid_each(here, address, formats.dns_subdomain(address))
        elif wrong := formats.ip_address(address):
            report.invalid_each(here, address, wrong)
        elif (":" in address) != (kind == "IPv6") and kind:
            report.invalid(here, address, f"must be an {kind} address")
    if host := endpoint.get("hostname"):
        report.invalid_each(f"{path}.hostname", host, formats.dns_label(host))
    if node := endpoint.get("nodeName"):
        report.invalid_each(f"{path}.nodeName", node, formats.dns_subdomain(node))


def validate_endpoint_slice_update(new: Object, old: Object, report: Report) -> None:
    validate_endpoint_slice(new, report)
    report.immutable("addressType", new.get("addressType"), old.get("addressType"))
