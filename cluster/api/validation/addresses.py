"""Addresses of Services: IPAddress and ServiceCIDR; and APIService, which may name a Service."""

from __future__ import annotations

import ipaddress

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_ONE_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def validate_address(obj: Object, report: Report) -> None:
    parent, path = (obj.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        report.required(path)
        return
    if group := parent.get("group"):
        report.invalid_each(f"{path}.group", group, formats.dns_subdomain(group))
    for field in ("resource", "name", "namespace"):
        if text := parent.get(field, ""):
            report.invalid_each(f"{path}.{field}", text, formats.path_segment(text))
        elif field != "namespace":
            report.required(f"{path}.{field}")


def validate_address_update(new: Object, old: Object, report: Report) -> None:
    parent, former = ((obj.get("spec") or {}).get("parentRef") for obj in (new, old))
    report.immutable("spec.parentRef", parent, former)


def validate_service_cidr(obj: Object, report: Report) -> None:
    blocks, path = (obj.get("spec") or {}).get("cidrs") or [], "spec.cidrs"
    shown = {"CIDRs": blocks}
    if not blocks:
        report.required(path, "at least one CIDR required")
    elif len(blocks) > 2:
        report.invalid(path, shown, "may only hold up to 2 values")
    elif len(blocks) == 2 and len({_family(block) for block in blocks} - {0}) != 2:
        report.invalid(path, shown, _ONE_EACH)
    else:
        for index, block in enumerate(blocks):
            report.invalid_each(f"{path}[{index}]", block, formats.cidr(block))


def _family(block: str) -> int:
    """4 or 6; 0 if it is no block of addresses."""
    return 0 if formats.cidr(block) else ipaddress.ip_network(block, strict=False).version


def validate_service_cidr_update(new: Object, old: Object, report: Report) -> None:
    blocks, former = ((obj.get("spec") or {}).get("cidrs") for obj in (new, old))
    report.immutable("spec.cidrs", blocks, former)


def validate_api_service(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    group, version = spec.get("group", ""), spec.get("version", "")
    name, wanted = obj["metadata"].get("name", ""), f"{version}.{group}"
    if name != wanted:
        report.invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{wanted}"')
    if group:
        report.invalid_each("spec.group", group, formats.dns_subdomain(group))
    elif version != "v1":
        report.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    report.invalid_each("spec.version", version, formats.dns_1035_label(version))
    for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(field, 0)
        if not 0 < value <= most:
            report.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    if (service := spec.get("service")) is None:
        _validate_local(spec, report)
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            report.required(f"spec.service.{field}")
    port = service.get("port", 443)
    if wrong := formats.port_number(port):
        report.invalid("spec.service.port", port, "port is not valid: " + ", ".join(wrong))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        report.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def _validate_local(spec: Object, report: Report) -> None:
    if bundle := spec.get("caBundle"):
        size = len(bundle) * 3 // 4 - bundle.count("=")
        report.invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
    if spec.get("insecureSkipTLSVerify"):
        why = "local APIServices may not have insecureSkipTLSVerify"
        report.invalid("spec.insecureSkipTLSVerify", True, why)


def validate_api_service_status(new: Object, old: Object, report: Report) -> None:
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        here = f"status.conditions[{index}].status"
        if condition.get("status") not in ("True", "False", "Unknown"):
            report.unsupported(here, condition.get("status", ""), ("True", "False", "Unknown"))
