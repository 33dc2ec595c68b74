"""A container's environment variables and where they come from."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_MORE_FIELDS = ("metadata.annotations", "metadata.labels", "spec.restartPolicy", "status.phase")
"""Known to the downward API, but not as environment variables."""
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


def validate_environment(container: Object, path: str, report: Report) -> None:
    for index, variable in enumerate(container.get("env") or ()):
        name = variable["name"]
        if not name:
            report.required(f"{path}.env[{index}].name")
        elif wrong := formats.environment_name(name):
            report.invalid_each(f"{path}.env[{index}].name", name, wrong)
        if "valueFrom" in variable:
            _validate_source(variable, f"{path}.env[{index}].valueFrom", report)
    for index, source in enumerate(container.get("envFrom") or ()):
        _validate_from(source, f"{path}.envFrom[{index}]", report)


def _validate_source(variable: Object, path: str, report: Report) -> None:
    source = variable["valueFrom"]
    found = [name for name in _SOURCES if name in source]
    if reference := source.get("fieldRef"):
        validate_field_reference(reference, f"{path}.fieldRef", _FIELDS, report)
    if reference := source.get("resourceFieldRef"):
        validate_resource_reference(reference, f"{path}.resourceFieldRef", report)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(name)) is not None:
            if not reference.get("name"):
                report.required(f"{path}.{name}.name")
            if not reference["key"]:
                report.required(f"{path}.{name}.key")
            elif wrong := formats.config_key(reference["key"]):
                report.invalid_each(f"{path}.{name}.key", reference["key"], wrong)
    if variable.get("value"):
        if found:
            report.invalid(path, "", "may not be specified when `value` is not empty")
    elif not found:
        report.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`, "
            "or `fileKeyRef`",
        )
    elif len(found) > 1:
        report.invalid(path, "", "may not have more than one field specified at a time")


def validate_field_reference(
    reference: Object, path: str, supported: tuple[str, ...], report: Report
) -> None:
    if not reference.get("apiVersion"):
        report.required(f"{path}.apiVersion")
    field = reference["fieldPath"]
    if not field:
        report.required(f"{path}.fieldPath")
        return
    base, bracket, key = field.partition("[")
    if bracket and base in ("metadata.annotations", "metadata.labels"):
        key = key.removesuffix("]").strip("'\"")
        name = key.lower() if base == "metadata.annotations" else key
        report.invalid_each(path, key, formats.qualified_name(name))
    elif field not in _FIELDS and field not in _MORE_FIELDS:
        report.invalid(
            f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}"
        )
    elif field not in supported:
        report.unsupported(f"{path}.fieldPath", field, supported)


def validate_resource_reference(reference: Object, path: str, report: Report) -> None:
    resource = reference["resource"]
    if not resource:
        report.required(f"{path}.resource")
    elif resource not in _RESOURCES and ".hugepages-" not in resource:
        report.unsupported(f"{path}.resource", resource, _RESOURCES)


def _validate_from(source: Object, path: str, report: Report) -> None:
    if (prefix := source.get("prefix")) and (wrong := formats.environment_name(prefix)):
        report.invalid_each(f"{path}.prefix", prefix, wrong)
    found = [name for name in ("configMapRef", "secretRef") if name in source]
    for name in found:
        if not source[name].get("name"):
            report.required(f"{path}.{name}.name")
    if not found:
        report.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(found) > 1:
        report.invalid(path, "", "may not have more than one field specified at a time")
