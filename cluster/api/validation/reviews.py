"""The kinds that are questions (SubjectAccessReview and its relatives): posted, answered, never stored."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.validation.report import Report

_RESOURCE, _PATH = "spec.resourceAttributes", "spec.nonResourceAttributes"
_SYSTEM = ("managedFields",)


def validate_access_review(obj: Object, report: Report) -> None:
    _validate_target(obj.get("spec") or {}, report)
    _validate_subject(obj.get("spec") or {}, report)
    _validate_no_metadata(obj, (), "must be empty", report)


def validate_self_access_review(obj: Object, report: Report) -> None:
    _validate_target(obj.get("spec") or {}, report)
    _validate_no_metadata(obj, (), "must be empty", report)


def validate_local_access_review(obj: Object, report: Report) -> None:
    spec = obj.get("spec") or {}
    _validate_target(spec, report)
    _validate_subject(spec, report)
    _validate_no_metadata(obj, ("namespace",), "must be empty except for namespace", report)
    resource, namespace = spec.get("resourceAttributes"), obj["metadata"].get("namespace", "")
    if resource is not None and resource.get("namespace", "") != namespace:
        shown = resource.get("namespace", "")
        report.invalid(f"{_RESOURCE}.namespace", shown, "must match metadata.namespace")
    if "nonResourceAttributes" in spec:
        report.invalid(_PATH, spec["nonResourceAttributes"], "disallowed on this kind of request")


def _validate_target(spec: Object, report: Report) -> None:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        report.invalid(_PATH, path, "cannot be specified in combination with resourceAttributes")
    elif resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        report.invalid(_RESOURCE, None, why)


def _validate_subject(spec: Object, report: Report) -> None:
    if not spec.get("user") and not spec.get("groups"):
        report.invalid("spec.user", "", "at least one of user or group must be specified")


def _validate_no_metadata(obj: Object, allowed: tuple[str, ...], why: str, report: Report) -> None:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _SYSTEM and value}
    if set(metadata) - set(allowed):
        report.invalid("metadata", metadata, why)
