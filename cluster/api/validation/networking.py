"""Ingress, IngressClass, NetworkPolicy."""

from __future__ import annotations

import ipaddress

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_POLICY_TYPES = ("Ingress", "Egress")
_SCOPES = ("Cluster", "Namespace")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")


def validate_ingress(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    rules, backend = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and backend is None:
        report.invalid(
            "spec", spec.get("rules") or [], "either `defaultBackend` or `rules` must be specified"
        )
    for index, rule in enumerate(rules):
        _validate_rule(rule, f"spec.rules[{index}]", report)
    if backend is not None:
        _validate_backend(backend, "spec.defaultBackend", report)
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            named = formats.wildcard_subdomain if "*" in host else formats.dns_subdomain
            report.invalid_each(f"spec.tls[{index}].hosts[{position}]", host, named(host))
        if secret := tls.get("secretName"):
            report.invalid_each(f"spec.tls[{index}].secretName", secret, formats.dns_subdomain(secret))
    if (name := spec.get("ingressClassName")) is not None:
        report.invalid_each("spec.ingressClassName", name, formats.dns_subdomain(name))


def _validate_rule(rule: Object, path: str, report: Report) -> None:
    if host := rule.get("host"):
        if formats.is_ip_address(host):
            report.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        else:
            named = formats.wildcard_subdomain if "*" in host else formats.dns_subdomain
            report.invalid_each(f"{path}.host", host, named(host))
    if (http := rule.get("http")) is None:
        return
    if not http.get("paths"):
        report.required(f"{path}.http.paths")
    for index, entry in enumerate(http.get("paths") or ()):
        _validate_path(entry, f"{path}.http.paths[{index}]", report)


def _validate_path(entry: Object, path: str, report: Report) -> None:
    kind, text = entry.get("pathType"), entry.get("path", "")
    if kind is None:
        report.required(f"{path}.pathType", "pathType must be specified")
    elif kind not in _PATH_TYPES:
        report.unsupported(f"{path}.pathType", kind, _PATH_TYPES)
    elif kind != "ImplementationSpecific":
        if not text.startswith("/"):
            report.invalid(f"{path}.path", text, "must be an absolute path")
        for part in _BAD_PARTS:
            if part in text:
                report.invalid(f"{path}.path", text, f"must not contain '{part}'")
        for end in _BAD_ENDS:
            if text.endswith(end):
                report.invalid(f"{path}.path", text, f"cannot end with '{end}'")
    elif text and not text.startswith("/"):
        report.invalid(f"{path}.path", text, "must be an absolute path")
    _validate_backend(entry.get("backend") or {}, f"{path}.backend", report)


def _validate_backend(backend: Object, path: str, report: Report) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        report.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        for field in ("kind", "name"):
            if not resource.get(field):
                report.required(f"{path}.resource.{field}")
    elif service is None:
        report.required(path, "resource or service backend is required")
    else:
        if not service["name"]:
            report.required(f"{path}.service.name")
        else:
            report.invalid_each(
                f"{path}.service.name", service["name"], formats.dns_1035_label(service["name"])
            )
        _validate_backend_port(service.get("port") or {}, path, report)


def _validate_backend_port(port: Object, path: str, report: Report) -> None:
    name, number = port.get("name"), port.get("number")
    if name and number:
        report.invalid(path, "", "cannot set both port name & port number")
    elif name:
        report.invalid_each(f"{path}.service.port.name", name, formats.port_name(name))
    elif number:
        report.invalid_each(f"{path}.service.port.number", number, formats.port_number(number))
    else:
        report.required(path, "port name or number is required")


def validate_ingress_class(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    controller = spec.get("controller", "")
    host, slash, rest = controller.partition("/")
    if not controller:
        report.required("spec.controller")
    elif len(controller) > 250:
        report.too_long("spec.controller", 250)
    elif not slash or not host or not rest:
        report.invalid(
            "spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")'
        )
    else:
        report.invalid_each("spec.controller", host, formats.dns_subdomain(host))
    if parameters := spec.get("parameters"):
        for field in ("kind", "name"):
            if not parameters.get(field):
                report.required(f"spec.parameters.{field}", f"{field} is required")
        scope = parameters.get("scope")
        if not scope:
            report.required("spec.parameters.scope")
        else:
            report.one_of("spec.parameters.scope", scope, _SCOPES)
        if scope == "Namespace" and not parameters.get("namespace"):
            report.required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'")
        elif scope == "Cluster" and parameters.get("namespace"):
            report.forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'")


def validate_ingress_class_update(new: Object, old: Object, report: Report) -> None:
    new_controller = (new.get("spec") or {}).get("controller")
    report.immutable("spec.controller", new_controller, (old.get("spec") or {}).get("controller"))
    validate_ingress_class(new, report)


def validate_network_policy(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    validate_label_selector(spec.get("podSelector") or {}, "spec.podSelector", report)
    for direction, field in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            here = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _validate_policy_port(port, f"{here}.ports[{position}]", report)
            for position, peer in enumerate(rule.get(field) or ()):
                _validate_peer(peer, f"{here}.{field}[{position}]", report)
    types = spec.get("policyTypes") or ()
    if len(types) > len(_POLICY_TYPES):
        report.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in _POLICY_TYPES:
            report.unsupported(f"spec.policyTypes[{index}]", kind, _POLICY_TYPES)


def _validate_policy_port(port: Object, path: str, report: Report) -> None:
    if (protocol := port.get("protocol")) is not None and protocol not in _PROTOCOLS:
        report.unsupported(f"{path}.protocol", protocol, _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        report.invalid_each(f"{path}.port", number, formats.port_number_or_name(number))
    if end is None:
        return
    if number is None:
        report.required(f"{path}.endPort", "must be specified when endPort is specified")
    elif isinstance(number, str):
        report.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    elif end < number:
        report.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
    report.invalid_each(f"{path}.endPort", end, formats.port_number(end))


def _validate_peer(peer: Object, path: str, report: Report) -> None:
    if not peer:
        report.required(path, "must specify a peer")
    for name in ("podSelector", "namespaceSelector"):
        if name in peer:
            validate_label_selector(peer[name], f"{path}.{name}", report)
    if (block := peer.get("ipBlock")) is None:
        return
    if len(peer) > 1:
        report.forbidden(path, "may not specify both ipBlock and another peer")
    if not block["cidr"]:
        report.required(f"{path}.ipBlock.cidr")
        return
    if wrong := formats.cidr(block["cidr"]):
        report.invalid_each(f"{path}.ipBlock.cidr", block["cidr"], wrong)
        return
    outer = ipaddress.ip_network(block["cidr"], strict=False)
    for index, text in enumerate(block.get("except") or ()):
        here = f"{path}.ipBlock.except[{index}]"
        if wrong := formats.cidr(text):
            report.invalid_each(here, text, wrong)
            continue
        inner = ipaddress.ip_network(text, strict=False)
        if (
            inner.version != outer.version
            or inner.prefixlen <= outer.prefixlen
            or inner.network_address not in outer
        ):
            report.invalid(here, text, "must be a strict subset of `cidr`")
