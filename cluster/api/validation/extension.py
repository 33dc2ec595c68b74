"""Custom resource definitions."""

from __future__ import annotations

from cluster.api.custom.approval import ANNOTATION, Approval, approval, is_protected
from cluster.api.custom.structural import check_schema
from cluster.api.jsonpath import JsonPathError, compile_path
from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report
from cluster.api.validation.webhooks import validate_client

_REVIEWS = ("v1", "v1beta1")
_SCOPES = ("Cluster", "Namespaced")


def validate_new_definition(obj: Object, report: Report) -> None:
    validate_definition(obj, report)
    _validate_approval(obj, None, report)


def _validate_approval(new: Object, old: Object | None, report: Report) -> None:
    """What was missing or wrong before may stay so."""
    if not is_protected(new["spec"].get("group", "")):
        return
    annotations = new["metadata"].get("annotations") or {}
    state, said = approval(annotations)
    if old is not None and approval(old["metadata"].get("annotations"))[0] is state:
        return
    path = f"metadata.annotations[{ANNOTATION}]"
    if state is Approval.MISSING:
        report.required(path, said)
    elif state is Approval.INVALID:
        report.invalid(path, annotations[ANNOTATION], said)


def validate_definition(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    names, group = spec["names"], spec.get("group", "")
    wanted = f"{names['plural']}.{group}"
    if obj["metadata"].get("name") != wanted:
        report.invalid(
            "metadata.name", obj["metadata"].get("name", ""), 'must be spec.names.plural+"."+spec.group'
        )
    if not group:
        report.required("spec.group")
    else:
        report.invalid_each("spec.group", group, formats.dns_subdomain(group))
        if "." not in group:
            report.invalid("spec.group", group, "should be a domain with at least one dot")
    report.one_of("spec.scope", spec.get("scope"), _SCOPES)
    if spec.get("preserveUnknownFields"):
        report.invalid(
            "spec.preserveUnknownFields",
            True,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema "
            "instead",
        )
    _validate_versions(spec.get("versions") or (), report)
    _validate_conversion(spec.get("conversion") or {}, "spec.conversion", report)
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            report.required(f"spec.names.{field}")
        elif wrong := formats.dns_1035_label(names[field].lower()):
            report.invalid_each(f"spec.names.{field}", names[field], wrong)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        report.invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")


def _validate_versions(versions: list[Object] | tuple[()], report: Report) -> None:
    if not versions:
        report.required("spec.versions", "must have at least one version")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        here = f"spec.versions[{index}]"
        report.invalid_each(f"{here}.name", version["name"], formats.dns_1035_label(version["name"]))
        if version["name"] in seen:
            report.invalid("spec.versions", version["name"], "must contain unique version names")
        seen.add(version["name"])
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not schema:
            report.required(f"{here}.schema.openAPIV3Schema", "schemas are required")
        else:
            check_schema(schema, f"{here}.schema.openAPIV3Schema", report)
        _validate_columns(version, here, report)
        _validate_subresources(version, here, report)
    if sum(1 for version in versions if version["storage"]) != 1:
        report.invalid("spec.versions", versions, "must have exactly one version marked as storage version")


def _validate_conversion(conversion: Object, path: str, report: Report) -> None:
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook")
    report.one_of(f"{path}.strategy", strategy, ("None", "Webhook"), needed=False)
    if strategy != "Webhook":
        if webhook is not None:
            report.forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
        return
    if not webhook or webhook.get("clientConfig") is None:
        report.required(f"{path}.webhook.clientConfig", "required when strategy is set to Webhook")
    else:
        validate_client(webhook["clientConfig"], f"{path}.webhook.clientConfig", report)
    versions = (webhook or {}).get("conversionReviewVersions") or []
    here = f"{path}.webhook.conversionReviewVersions"
    if not versions:
        report.required(here, f"must specify one of {', '.join(_REVIEWS)}")
    elif not any(version in _REVIEWS for version in versions):
        report.invalid(here, versions, f"must include at least one of {', '.join(_REVIEWS)}")


_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def _validate_columns(version: Object, path: str, report: Report) -> None:
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        here = f"{path}.additionalPrinterColumns[{index}]"
        if not column["name"]:
            report.required(f"{here}.name")
        report.one_of(f"{here}.type", column["type"], _COLUMN_TYPES)
        json_path = column["jsonPath"]
        if not json_path:
            report.required(f"{here}.jsonPath")
            continue
        try:
            compile_path(json_path)
        except JsonPathError as error:
            report.invalid(f"{here}.jsonPath", json_path, str(error))


def _validate_subresources(version: Object, path: str, report: Report) -> None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return
    for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        here = f"{path}.subresources.scale.{name}"
        value = scale.get(name, "")
        if not value:
            report.required(here)
        elif not value.startswith(root):
            report.invalid(here, value, f"should be a json path under {root.rstrip('.')}")


def validate_definition_update(new: Object, old: Object, report: Report) -> None:
    validate_definition(new, report)
    _validate_approval(new, old, report)
    _validate_stored_versions(new, report)
    established = any(
        c["type"] == "Established" and c["status"] == "True"
        for c in (old.get("status") or {}).get("conditions") or ()
    )
    for field, path in (("group", "spec.group"), ("scope", "spec.scope")):
        if established or field == "group":
            report.immutable(path, new["spec"].get(field), old["spec"].get(field))
    for field in ("plural", "kind"):
        if established or field == "plural":
            report.immutable(
                f"spec.names.{field}", new["spec"]["names"].get(field), old["spec"]["names"].get(field)
            )


def _validate_stored_versions(obj: Object, report: Report) -> None:
    """A version in which objects may be stored has to stay."""
    path, stored = "status.storedVersions", (obj.get("status") or {}).get("storedVersions") or []
    if not stored:
        report.invalid(path, stored, "must have at least one stored version")
        return
    versions = obj["spec"].get("versions") or ()
    for version in versions:
        if version["storage"] and version["name"] not in stored:
            report.invalid(path, stored, f"must have the storage version {version['name']}")
    names = [version["name"] for version in versions]
    for index, name in enumerate(stored):
        if name not in names:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and "
                f"removes {name} from status.storedVersions"
            )
            report.invalid(f"{path}[{index}]", name, why)
