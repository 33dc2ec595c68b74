"""metadata of every kind: names, labels, annotations, owners, finalizers, and what may not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_ANNOTATIONS_LIMIT = 256 * 1024
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"

_LABEL_NAMED = frozenset(r.qualified for r in (kinds.NAMESPACES,))
_SERVICE_NAMED = frozenset(r.qualified for r in (kinds.SERVICES,))
_FREELY_NAMED = frozenset(
    r.qualified
    for r in (
        kinds.ROLES,
        kinds.ROLE_BINDINGS,
        kinds.CLUSTER_ROLES,
        kinds.CLUSTER_ROLE_BINDINGS,
        kinds.CERTIFICATE_SIGNING_REQUESTS,
        kinds.API_SERVICES,
        kinds.CLUSTER_TRUST_BUNDLES,
    )
)


def name_format(resource: Resource) -> formats.Format:
    """Which names objects of this kind may have."""
    qualified = resource.qualified
    if qualified in _FREELY_NAMED:
        return formats.path_segment
    if qualified in _SERVICE_NAMED:
        return formats.dns_1035_label
    if qualified == kinds.IP_ADDRESSES.qualified:
        return formats.ip_address
    return formats.dns_label if qualified in _LABEL_NAMED else formats.dns_subdomain


def validate_metadata(resource: Resource, obj: Object, report: Report) -> None:
    metadata = obj["metadata"]
    named = name_format(resource)
    if prefix := metadata.get("generateName"):
        shown = prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        report.invalid_each("metadata.generateName", prefix, named(shown))
    if name := metadata.get("name"):
        if wrong := named(name):
            report.invalid_each("metadata.name", name, wrong)
    else:
        report.required("metadata.name", "name or generateName is required")
    namespace = metadata.get("namespace")
    if not resource.namespaced:
        if namespace:
            report.forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        report.required("metadata.namespace")
    elif wrong := formats.dns_label(namespace):
        report.invalid_each("metadata.namespace", namespace, wrong)
    report.not_negative("metadata.generation", metadata.get("generation", 0))
    _validate_common(metadata, report)
    if finalizers := metadata.get("finalizers"):
        validate_finalizers(finalizers, "metadata.finalizers", report)


def _validate_common(metadata: Mapping[str, Any], report: Report) -> None:
    if labels := metadata.get("labels"):
        validate_labels(labels, "metadata.labels", report)
    if annotations := metadata.get("annotations"):
        validate_annotations(annotations, "metadata.annotations", report)
    if owners := metadata.get("ownerReferences"):
        _validate_owners(owners, "metadata.ownerReferences", report)


def validate_template_metadata(metadata: Mapping[str, Any], path: str, report: Report) -> None:
    """Labels and annotations inside a template."""
    if labels := metadata.get("labels"):
        validate_labels(labels, f"{path}.labels", report)
    if annotations := metadata.get("annotations"):
        validate_annotations(annotations, f"{path}.annotations", report)


def validate_labels(labels: Mapping[str, str], path: str, report: Report) -> None:
    for key, value in labels.items():
        if wrong := formats.qualified_name(key):
            report.invalid_each(path, key, wrong)
        if wrong := formats.label_value(value):
            report.invalid_each(path, value, wrong)


def validate_annotations(annotations: Mapping[str, str], path: str, report: Report) -> None:
    size = 0
    for key, value in annotations.items():
        if wrong := formats.qualified_name(key.lower()):
            report.invalid_each(path, key, wrong)
        size += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if size > _ANNOTATIONS_LIMIT:
        report.too_long(path, _ANNOTATIONS_LIMIT)


def _validate_owners(owners: list[Object], path: str, report: Report) -> None:
    controller = ""
    for index, owner in enumerate(owners):
        here = f"{path}[{index}]"
        api_version = owner.get("apiVersion", "")
        if not api_version:
            report.required(f"{here}.apiVersion", "must not be empty")
        elif api_version.count("/") > 1 or api_version.endswith("/"):
            report.invalid(f"{here}.apiVersion", api_version, "must be <group>/<version> or <version>")
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                report.required(f"{here}.{field}", "must not be empty")
        if api_version == "v1" and owner.get("kind") == "Event":
            report.invalid(here, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            this = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                report.invalid(
                    path,
                    owners,
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {this}",
                )
            controller = controller or this


def validate_finalizers(finalizers: list[str], path: str, report: Report) -> None:
    for finalizer in finalizers:
        report.invalid_each(path, finalizer, formats.qualified_name(finalizer))
    if _ORPHAN in finalizers and _FOREGROUND in finalizers:
        report.invalid(path, finalizers, f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set")


def validate_metadata_update(new: Object, old: Object, report: Report) -> None:
    changed, former = new["metadata"], old["metadata"]
    if "deletionTimestamp" in former:
        added = sorted(set(changed.get("finalizers", ())) - set(former.get("finalizers", ())))
        if added:
            shown = "[]string{" + ", ".join(f'"{finalizer}"' for finalizer in added) + "}"
            report.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"{shown}",
            )
    if not changed.get("resourceVersion"):
        report.invalid("metadata.resourceVersion", "", "must be specified for an update")
    if changed.get("generation", 0) < former.get("generation", 0):
        report.invalid("metadata.generation", changed.get("generation", 0), "must not be decremented")
    for field in _FIXED:
        if changed.get(field) != former.get(field):
            report.immutable(f"metadata.{field}", changed.get(field), former.get(field))
    if changed.get("labels") is not former.get("labels") or changed.get("annotations") is not former.get(
        "annotations"
    ):
        _validate_common(changed, report)
    elif changed.get("ownerReferences") is not former.get("ownerReferences"):
        _validate_owners(changed.get("ownerReferences") or [], "metadata.ownerReferences", report)
    if (finalizers := changed.get("finalizers")) and finalizers != former.get("finalizers"):
        validate_finalizers(finalizers, "metadata.finalizers", report)


_FIXED = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
