"""Tables of roles and bindings, certificate requests, admission and priority-and-fairness configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cluster.api.tables.columns import NONE, UNSET, Cells, Layout, age, human_duration, layout, name

_Object = Mapping[str, Any]


def _created(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj["metadata"].get("creationTimestamp")]


def _binding(obj: _Object, now: datetime) -> Cells:
    role, subjects = obj.get("roleRef", {}), obj.get("subjects") or ()
    accounts = [
        f"{s.get('namespace', '')}/{s['name']}" for s in subjects if s.get("kind") == "ServiceAccount"
    ]
    return [
        name(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now),
        ", ".join(s["name"] for s in subjects if s.get("kind") == "User"),
        ", ".join(s["name"] for s in subjects if s.get("kind") == "Group"),
        ", ".join(accounts),
    ]


def _signing_request(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    seconds = spec.get("expirationSeconds")
    return [
        name(obj),
        age(obj, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else human_duration(seconds),
        _signing_state(obj.get("status", {})),
    ]


def _signing_state(status: _Object) -> str:
    found = {condition["type"] for condition in status.get("conditions") or ()}
    words = ["Denied" if "Denied" in found else "Approved" if "Approved" in found else "Pending"]
    if "Failed" in found:
        words.append("Failed")
    if status.get("certificate"):
        words.append("Issued")
    return ",".join(words)


def _webhooks(obj: _Object, now: datetime) -> Cells:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _trust_bundle(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("spec", {}).get("signerName") or NONE]


def _admission_policy(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    kind, rules = spec.get("paramKind"), spec.get("validations", spec.get("mutations")) or ()
    shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
    return [name(obj), len(rules), shown, age(obj, now)]


def _policy_binding(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    reference = spec.get("paramRef")
    shown = UNSET
    if reference:
        shown = "/".join(p for p in (reference.get("namespace"), reference.get("name")) if p) or "*"
    return [name(obj), spec.get("policyName", ""), shown, age(obj, now)]


def _flow_schema(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    dangling = [
        c.get("status", "?") for c in obj.get("status", {}).get("conditions") or () if c["type"] == "Dangling"
    ]
    return [
        name(obj),
        spec.get("priorityLevelConfiguration", {}).get("name") or NONE,
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age(obj, now),
        dangling[0] if dangling else "?",
    ]


def _priority_level(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    bounds: _Object = spec.get("limited") or spec.get("exempt") or {}
    queues: _Object = bounds.get("limitResponse", {}).get("queuing") or {}
    return [
        name(obj),
        spec.get("type", ""),
        bounds.get("nominalConcurrencyShares", NONE),
        queues.get("queues", NONE),
        queues.get("handSize", NONE),
        queues.get("queueLengthLimit", NONE),
        age(obj, now),
    ]


def _api_service(obj: _Object, now: datetime) -> Cells:
    service = obj.get("spec", {}).get("service")
    available = "Unknown"
    for condition in obj.get("status", {}).get("conditions") or ():
        if condition["type"] == "Available":
            available = condition["status"]
            if available != "True":
                available = f"{available} ({condition.get('reason', '')})"
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    return [name(obj), where, available, age(obj, now)]


CREATED: Final = layout(_created, "Name", "Created At:date")
_BINDINGS: Final = layout(_binding, "Name", "Role", "Age", "Users+", "Groups+", "ServiceAccounts+")
_WEBHOOKS: Final = layout(_webhooks, "Name", "Webhooks:integer", "Age")
_ADMISSION: Final = "admissionregistration.k8s.io"
_RBAC: Final = "rbac.authorization.k8s.io"
_FLOW: Final = "flowcontrol.apiserver.k8s.io"

LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    (_RBAC, "roles"): CREATED,
    (_RBAC, "clusterroles"): CREATED,
    (_RBAC, "rolebindings"): _BINDINGS,
    (_RBAC, "clusterrolebindings"): _BINDINGS,
    ("certificates.k8s.io", "certificatesigningrequests"): layout(
        _signing_request, "Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"
    ),
    ("certificates.k8s.io", "clustertrustbundles"): layout(_trust_bundle, "Name", "SignerName"),
    (_ADMISSION, "mutatingwebhookconfigurations"): _WEBHOOKS,
    (_ADMISSION, "validatingwebhookconfigurations"): _WEBHOOKS,
    (_ADMISSION, "validatingadmissionpolicies"): layout(
        _admission_policy, "Name", "Validations:integer", "ParamKind", "Age"
    ),
    (_ADMISSION, "mutatingadmissionpolicies"): layout(
        _admission_policy, "Name", "Mutations:integer", "ParamKind", "Age"
    ),
    (_ADMISSION, "validatingadmissionpolicybindings"): layout(
        _policy_binding, "Name", "PolicyName", "ParamRef", "Age"
    ),
    (_ADMISSION, "mutatingadmissionpolicybindings"): layout(
        _policy_binding, "Name", "PolicyName", "ParamRef", "Age"
    ),
    (_FLOW, "flowschemas"): layout(
        _flow_schema, "Name", "PriorityLevel", "MatchingPrecedence:integer", "DistinguisherMethod", "Age",
        "MissingPL",
    ),
    (_FLOW, "prioritylevelconfigurations"): layout(
        _priority_level, "Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize",
        "QueueLengthLimit", "Age"
    ),
    ("apiregistration.k8s.io", "apiservices"): layout(_api_service, "Name", "Service", "Available", "Age"),
}  # fmt: skip
