"""Pods, and pod templates of every workload."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.containers import validate_containers
from cluster.api.validation.metadata import validate_template_metadata
from cluster.api.validation.report import Report
from cluster.api.validation.scheduling import validate_placement
from cluster.api.validation.security import validate_pod_security
from cluster.api.validation.volumes import validate_volumes

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("Never", "PreemptLowerPriority")
_MAX_INT32 = 2**31 - 1
_NOTHING: frozenset[str] = frozenset()


def validate_pod(pod: Object, report: Report) -> None:
    spec = pod["spec"]
    validate_pod_spec(spec, "spec", report)
    if spec.get("ephemeralContainers") and "resourceVersion" not in pod["metadata"]:
        report.forbidden("spec.ephemeralContainers", "cannot be set on create")


def validate_pod_template(template: Object, path: str, report: Report) -> None:
    validate_template_metadata(template.get("metadata") or {}, f"{path}.metadata", report)
    spec = template.get("spec") or {}
    validate_pod_spec(spec, f"{path}.spec", report)
    if spec.get("ephemeralContainers"):
        report.forbidden(
            f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def validate_pod_spec(spec: Object, path: str, report: Report) -> None:
    volumes = spec.get("volumes")
    names = validate_volumes(volumes, f"{path}.volumes", report) if volumes else _NOTHING
    validate_containers(spec, path, names, report)
    if spec.get("restartPolicy") not in _RESTART_POLICIES:
        report.one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    if spec.get("dnsPolicy") not in _DNS_POLICIES:
        report.one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    validate_placement(spec, path, report)
    if security := spec.get("securityContext"):
        validate_pod_security(security, f"{path}.securityContext", report)
    if spec.get("hostNetwork"):
        _validate_host_network(spec, path, report)
    if config := spec.get("dnsConfig"):
        _validate_dns_config(config, spec, path, report)
    elif spec.get("dnsPolicy") == "None":
        report.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
    _validate_names(spec, path, report)
    _validate_numbers(spec, path, report)
    _validate_gates(spec, path, report)


def _validate_host_network(spec: Object, path: str, report: Report) -> None:
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort", port["containerPort"]) != port["containerPort"]:
                report.invalid(
                    f"{path}.containers[{index}].ports[{position}].containerPort",
                    port["containerPort"],
                    "must match `hostPort` when `hostNetwork` is true",
                )


def _validate_dns_config(config: Object, spec: Object, path: str, report: Report) -> None:
    here = f"{path}.dnsConfig"
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if spec.get("dnsPolicy") == "None" and not servers:
        report.required(
            f"{here}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
    if len(servers) > 3:
        report.invalid(f"{here}.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        report.invalid_each(f"{here}.nameservers[{index}]", server, formats.ip_address(server))
    if len(searches) > 32:
        report.invalid(f"{here}.searches", searches, "must not have more than 32 search paths")
    for index, search in enumerate(searches):
        plain = search.removesuffix(".")
        if plain:
            report.invalid_each(
                f"{here}.searches[{index}]", plain, formats.dns_subdomain_with_underscore(plain)
            )
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            report.required(f"{here}.options[{index}]", "must not be empty")


def _validate_names(spec: Object, path: str, report: Report) -> None:
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        if (name := spec.get(field)) and (wrong := formats.dns_subdomain(name)):
            report.invalid_each(f"{path}.{field}", name, wrong)
    for field in ("hostname", "subdomain"):
        if (name := spec.get(field)) and (wrong := formats.dns_label(name)):
            report.invalid_each(f"{path}.{field}", name, wrong)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{index}]"
        report.invalid_each(f"{here}.ip", alias.get("ip", ""), formats.ip_address(alias.get("ip", "")))
        for name in alias.get("hostnames") or ():
            report.invalid_each(f"{here}.hostnames", name, formats.dns_subdomain(name))
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            report.required(f"{path}.imagePullSecrets[{index}].name")
    if (system := spec.get("os")) and system.get("name") not in ("linux", "windows"):
        report.one_of(f"{path}.os", system.get("name"), ("linux", "windows"))


def _validate_numbers(spec: Object, path: str, report: Report) -> None:
    if (deadline := spec.get("activeDeadlineSeconds")) is not None:
        report.within(f"{path}.activeDeadlineSeconds", deadline, 1, _MAX_INT32)
    if (grace := spec.get("terminationGracePeriodSeconds", 0)) < 0:
        report.not_negative(f"{path}.terminationGracePeriodSeconds", grace)
    if (policy := spec.get("preemptionPolicy")) is not None and policy not in _PREEMPTION:
        report.unsupported(f"{path}.preemptionPolicy", policy, _PREEMPTION)
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        report.invalid(
            f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )


def _validate_gates(spec: Object, path: str, report: Report) -> None:
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        name = gate["conditionType"]
        report.invalid_each(
            f"{path}.readinessGates[{index}].conditionType", name, formats.qualified_name(name)
        )
    gates: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name = gate["name"]
        report.invalid_each(f"{path}.schedulingGates[{index}]", name, formats.qualified_name(name))
        if name in gates:
            report.duplicate(f"{path}.schedulingGates[{index}]", name)
        gates.add(name)
