"""Webhook configurations and custom resource definitions."""

from __future__ import annotations

from cluster.api.cel.kinds import BOOL
from cluster.api.custom.structural import check_schema
from cluster.api.jsonpath import JsonPathError, compile_path
from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.policies import CONDITION_VARIABLES, check_expression
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_REINVOCATION = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_RULE_SCOPES = ("*", "Cluster", "Namespaced")
_REVIEWS = ("v1", "v1beta1")
_SCOPES = ("Cluster", "Namespaced")


def validate_webhooks(obj: Object, report: Report) -> None:
    names: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        here = f"webhooks[{index}]"
        _validate_webhook(hook, here, report)
        if hook["name"] in names:
            report.duplicate(f"{here}.name", hook["name"])
        names.add(hook["name"])


def _validate_webhook(hook: Object, path: str, report: Report) -> None:
    name = hook["name"]
    if not name:
        report.required(f"{path}.name")
    elif wrong := formats.dns_subdomain(name):
        report.invalid(f"{path}.name", name, ",".join(wrong))
    elif name.count(".") < 2:
        report.invalid(
            f"{path}.name", name, "should be a domain with at least three segments separated by dots"
        )
    versions = hook.get("admissionReviewVersions") or ()
    if not versions:
        report.required(f"{path}.admissionReviewVersions", f"must specify one of {', '.join(_REVIEWS)}")
    elif not any(version in _REVIEWS for version in versions):
        report.invalid(
            f"{path}.admissionReviewVersions", versions, f"must include at least one of {', '.join(_REVIEWS)}"
        )
    for index, rule in enumerate(hook.get("rules") or ()):
        _validate_rule(rule, f"{path}.rules[{index}]", report)
    report.one_of(f"{path}.failurePolicy", hook.get("failurePolicy"), _FAILURE_POLICIES, needed=False)
    report.one_of(f"{path}.matchPolicy", hook.get("matchPolicy"), _MATCH_POLICIES, needed=False)
    side_effects = hook.get("sideEffects")
    if side_effects is None:
        report.required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    elif side_effects not in _SIDE_EFFECTS:
        report.unsupported(f"{path}.sideEffects", side_effects, _SIDE_EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        report.invalid(
            f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds"
        )
    for field in ("namespaceSelector", "objectSelector"):
        if selector := hook.get(field):
            validate_label_selector(selector, f"{path}.{field}", report)
    report.one_of(f"{path}.reinvocationPolicy", hook.get("reinvocationPolicy"), _REINVOCATION, needed=False)
    for index, condition in enumerate(hook.get("matchConditions") or ()):
        here = f"{path}.matchConditions[{index}].expression"
        check_expression(condition["expression"], here, CONDITION_VARIABLES, BOOL, report)
    _validate_client(hook.get("clientConfig") or {}, f"{path}.clientConfig", report)


def _validate_rule(rule: Object, path: str, report: Report) -> None:
    for field in ("apiGroups", "apiVersions", "resources", "operations"):
        values = rule.get(field) or ()
        if not values:
            report.required(f"{path}.{field}")
        elif len(values) > 1 and "*" in values and field != "resources":
            report.invalid(
                f"{path}.{field}",
                values,
                "if '*' is present, must not specify other "
                + (
                    "operations"
                    if field == "operations"
                    else "API groups"
                    if field == "apiGroups"
                    else "API versions"
                ),
            )
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            report.unsupported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    report.one_of(f"{path}.scope", rule.get("scope"), _RULE_SCOPES, needed=False)


def _validate_client(client: Object, path: str, report: Report) -> None:
    if ("url" in client) == ("service" in client):
        report.required(path, "exactly one of url or service is required")
    elif url := client.get("url"):
        if not url.startswith("https://"):
            scheme = url.partition("://")[0]
            report.invalid(
                f"{path}.url",
                scheme,
                "'https' is the only allowed URL scheme; desired format: https://host[/path]",
            )
    elif service := client.get("service"):
        for field in ("name", "namespace"):
            if not service.get(field):
                report.required(f"{path}.service.{field}", f"service {field} is required")


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
