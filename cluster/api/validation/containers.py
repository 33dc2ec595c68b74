"""Containers of all three sorts: names, images, ports, environment, mounts, resources, security."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.amounts import validate_resources
from cluster.api.validation.environment import validate_environment
from cluster.api.validation.handlers import validate_probes
from cluster.api.validation.report import Report
from cluster.api.validation.security import validate_container_security

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy",
)  # fmt: skip


def validate_containers(spec: Object, path: str, volumes: frozenset[str], report: Report) -> None:
    containers = spec.get("containers")
    if not containers:
        report.required(f"{path}.containers")
    names: set[str] = set()
    host_ports: set[str] = set()
    grace_period_s = spec.get("terminationGracePeriodSeconds", 30)
    for index, container in enumerate(containers or ()):
        here = f"{path}.containers[{index}]"
        _validate_container(container, here, names, volumes, report)
        validate_probes(container, here, grace_period_s, report)
        _validate_host_ports(container, here, host_ports, report)
    for index, container in enumerate(spec.get("initContainers") or ()):
        here = f"{path}.initContainers[{index}]"
        _validate_container(container, here, names, volumes, report)
        _validate_init_container(container, here, grace_period_s, report)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        _validate_ephemeral_container(
            container, f"{path}.ephemeralContainers[{index}]", spec, names, volumes, report
        )


def _validate_container(
    container: Object, path: str, names: set[str], volumes: frozenset[str], report: Report
) -> None:
    name = container["name"]
    if not name:
        report.required(f"{path}.name")
    elif wrong := formats.dns_label(name):
        report.invalid_each(f"{path}.name", name, wrong)
    elif name in names:
        report.duplicate(f"{path}.name", name)
    names.add(name)
    image = container.get("image", "")
    if not image:
        report.required(f"{path}.image")
    elif image != image.strip():
        report.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    if container.get("terminationMessagePolicy") not in _MESSAGE_POLICIES:
        report.one_of(
            f"{path}.terminationMessagePolicy", container.get("terminationMessagePolicy"), _MESSAGE_POLICIES
        )
    if container.get("imagePullPolicy") not in _PULL_POLICIES:
        report.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    if ports := container.get("ports"):
        _validate_ports(ports, f"{path}.ports", report)
    validate_environment(container, path, report)
    _validate_mounts(container, path, volumes, report)
    if resources := container.get("resources"):
        validate_resources(resources, f"{path}.resources", report)
    if security := container.get("securityContext"):
        validate_container_security(security, f"{path}.securityContext", report)


def _validate_ports(ports: list[Object], path: str, report: Report) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if name := port.get("name"):
            if wrong := formats.port_name(name):
                report.invalid_each(f"{here}.name", name, wrong)
            elif name in names:
                report.duplicate(f"{here}.name", name)
            names.add(name)
        number = port["containerPort"]
        if number == 0:
            report.required(f"{here}.containerPort")
        elif wrong := formats.port_number(number):
            report.invalid_each(f"{here}.containerPort", number, wrong)
        if (host_port := port.get("hostPort")) and (wrong := formats.port_number(host_port)):
            report.invalid_each(f"{here}.hostPort", host_port, wrong)
        if port.get("protocol") not in _PROTOCOLS:
            report.one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        if (host_ip := port.get("hostIP")) and (wrong := formats.ip_address(host_ip)):
            report.invalid_each(f"{here}.hostIP", host_ip, wrong)


def _validate_host_ports(container: Object, path: str, taken: set[str], report: Report) -> None:
    for index, port in enumerate(container.get("ports") or ()):
        if not port.get("hostPort"):
            continue
        text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
        if text in taken:
            report.duplicate(f"{path}.ports[{index}].hostPort", text)
        taken.add(text)


def _validate_mounts(container: Object, path: str, volumes: frozenset[str], report: Report) -> None:
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here = f"{path}.volumeMounts[{index}]"
        if not mount["name"]:
            report.required(f"{here}.name")
        elif mount["name"] not in volumes:
            report.not_found(f"{here}.name", mount["name"])
        if not mount["mountPath"]:
            report.required(f"{here}.mountPath")
        elif mount["mountPath"] in paths:
            report.invalid(f"{here}.mountPath", mount["mountPath"], "must be unique")
        paths.add(mount["mountPath"])
        for field in ("subPath", "subPathExpr"):
            if sub_path := mount.get(field):
                validate_descending_path(sub_path, f"{here}.{field}", report)
        if mount.get("subPath") and mount.get("subPathExpr"):
            report.invalid(
                f"{here}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )
    devices: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        here = f"{path}.volumeDevices[{index}]"
        if not device["name"]:
            report.required(f"{here}.name")
        elif device["name"] not in volumes:
            report.not_found(f"{here}.name", device["name"])
        if not device["devicePath"]:
            report.required(f"{here}.devicePath")
        elif device["devicePath"] in devices:
            report.invalid(f"{here}.devicePath", device["devicePath"], "must be unique")
        devices.add(device["devicePath"])


def validate_descending_path(text: str, path: str, report: Report) -> None:
    if text.startswith("/"):
        report.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        report.invalid(path, text, "must not contain '..'")


def _validate_init_container(container: Object, path: str, grace_period_s: int, report: Report) -> None:
    if container.get("restartPolicy") == "Always":
        validate_probes(container, path, grace_period_s, report)
        return
    for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            report.forbidden(f"{path}.{name}", _ONLY_SIDECARS)


def _validate_ephemeral_container(
    container: Object, path: str, spec: Object, names: set[str], volumes: frozenset[str], report: Report
) -> None:
    _validate_container(container, path, names, volumes, report)
    target = container.get("targetContainerName")
    known = [c["name"] for c in (*spec.get("containers", ()), *spec.get("initContainers", ()))]
    if target and target not in known:
        report.not_found(f"{path}.targetContainerName", target)
    for name in _NOT_EPHEMERAL:
        if name in container:
            report.forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container")
    if container.get("resources"):
        report.forbidden(f"{path}.resources", "cannot be set for an Ephemeral Container")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                report.forbidden(
                    f"{path}.volumeMounts[{index}].{field}", "cannot be set for an Ephemeral Container"
                )
