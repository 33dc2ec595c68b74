"""Webhook configurations. What an older version of a configuration had already may stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.matching import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    REINVOCATION_POLICIES,
    validate_conditions,
    validate_rule,
)
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import validate_label_selector

CONDITION_VARIABLES: Final = ("object", "oldObject", "request", "authorizer")
"""What a webhook's match condition may name."""
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_ALL_SIDE_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
_REVIEWS = ("v1", "v1beta1")
_URL_FORM = "; desired format: https://host[/path]"


def validate_webhooks(obj: Object, report: Report) -> None:
    _validate(obj, (), report)


def validate_webhooks_update(new: Object, old: Object, report: Report) -> None:
    _validate(new, old.get("webhooks") or (), report)


def _validate(obj: Object, former: Sequence[Object], report: Report) -> None:
    hooks = obj.get("webhooks") or ()
    known = [hook.get("matchConditions") for hook in former]
    check_conditions = known != [hook.get("matchConditions") for hook in hooks]
    side_effects: tuple[str, ...] = _SIDE_EFFECTS
    if any(hook.get("sideEffects") not in _SIDE_EFFECTS for hook in former):
        side_effects = _ALL_SIDE_EFFECTS
    names: set[str] = set()
    for index, hook in enumerate(hooks):
        here, name = f"webhooks[{index}]", hook["name"]
        _validate_webhook(hook, here, side_effects, report)
        validate_client(hook.get("clientConfig") or {}, f"{here}.clientConfig", report)
        if check_conditions:
            conditions = hook.get("matchConditions") or ()
            validate_conditions(conditions, f"{here}.matchConditions", CONDITION_VARIABLES, report)
        _validate_review_versions(hook.get("admissionReviewVersions") or [], here, report)
        if name and name in names:
            report.duplicate(f"{here}.name", name)
        names.add(name)


def _validate_webhook(hook: Object, path: str, side_effects: tuple[str, ...], report: Report) -> None:
    _validate_full_name(hook["name"], f"{path}.name", report)
    for index, rule in enumerate(hook.get("rules") or ()):
        validate_rule(rule, f"{path}.rules[{index}]", report)
    report.one_of(f"{path}.failurePolicy", hook.get("failurePolicy"), FAILURE_POLICIES, needed=False)
    report.one_of(f"{path}.matchPolicy", hook.get("matchPolicy"), MATCH_POLICIES, needed=False)
    if "sideEffects" not in hook:
        report.required(f"{path}.sideEffects", f"must specify one of {', '.join(side_effects)}")
    elif hook["sideEffects"] not in side_effects:
        report.unsupported(f"{path}.sideEffects", hook["sideEffects"], side_effects)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        why = "the timeout value must be between 1 and 30 seconds"
        report.invalid(f"{path}.timeoutSeconds", seconds, why)
    for field in ("namespaceSelector", "objectSelector"):
        if selector := hook.get(field):
            validate_label_selector(selector, f"{path}.{field}", report)
    policy = hook.get("reinvocationPolicy")
    report.one_of(f"{path}.reinvocationPolicy", policy, REINVOCATION_POLICIES, needed=False)


def _validate_full_name(name: str, path: str, report: Report) -> None:
    if not name:
        report.required(path)
    elif wrong := formats.dns_subdomain(name):
        report.invalid(path, name, ",".join(wrong))
    elif name.count(".") < 2:
        report.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _validate_review_versions(versions: list[str], path: str, report: Report) -> None:
    here = f"{path}.admissionReviewVersions"
    if not versions:
        report.required(here, f"must specify one of {', '.join(_REVIEWS)}")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            report.invalid(f"{here}[{index}]", version, "duplicate version")
        else:
            report.invalid_each(f"{here}[{index}]", version, formats.dns_1035_label(version))
    if not any(version in _REVIEWS for version in versions):
        report.invalid(here, versions, f"must include at least one of {', '.join(_REVIEWS)}")


def validate_client(client: Object, path: str, report: Report) -> None:
    """Where a webhook is reached, for admission and for conversion."""
    if ("url" in client) == ("service" in client):
        report.required(path, "exactly one of url or service is required")
    elif "url" in client:
        _validate_url(client["url"], f"{path}.url", report)
    else:
        _validate_service(client["service"], f"{path}.service", report)


def _validate_url(url: str, path: str, report: Report) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        report.required(path, f"url must be a valid URL: {error}{_URL_FORM}")
        return
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme != "https":
        report.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}")
    if not host:
        report.invalid(path, host, f"host must be specified{_URL_FORM}")
    if at:
        report.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        report.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        report.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _validate_service(service: Object, path: str, report: Report) -> None:
    for field in ("name", "namespace"):
        if not service.get(field):
            report.required(f"{path}.{field}", f"service {field} is required")
    port = service.get("port", 443)
    if wrong := formats.port_number(port):
        report.invalid(f"{path}.port", port, "port is not valid: " + ", ".join(wrong))
    _validate_service_path(service.get("path", ""), f"{path}.path", report)


def _validate_service_path(text: str, path: str, report: Report) -> None:
    if text in ("", "/"):
        return
    if text == "//":
        report.invalid(path, text, "segment[0] may not be empty")
        return
    if not text.startswith("/"):
        report.invalid(path, text, "must start with a '/'")
    for index, step in enumerate(text[1:].removesuffix("/").split("/")):
        if not step:
            report.invalid(path, text, f"segment[{index}] may not be empty")
        for why in formats.dns_subdomain(step) if step else ():
            report.invalid(path, text, f"segment[{index}]: {why}")
