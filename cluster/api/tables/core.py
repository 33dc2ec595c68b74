"""Tables of nodes, namespaces, configuration, accounts, quotas and events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cluster.api.tables.columns import (
    NONE,
    UNKNOWN,
    Cells,
    Layout,
    age,
    layout,
    name,
    since,
)

_Object = Mapping[str, Any]
_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"


def _node(obj: _Object, now: datetime) -> Cells:
    status = obj.get("status", {})
    info = status.get("nodeInfo", {})
    return [
        name(obj),
        _node_status(obj),
        _node_roles(obj["metadata"].get("labels") or {}),
        age(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: _Object) -> str:
    words = [
        "Ready" if condition.get("status") == "True" else "NotReady"
        for condition in obj.get("status", {}).get("conditions") or ()
        if condition["type"] == "Ready"
    ][-1:]
    if obj.get("spec", {}).get("unschedulable"):
        return ",".join([*(words or ["Unknown"]), "SchedulingDisabled"])
    return ",".join(words) or "Unknown"


def _node_roles(labels: Mapping[str, str]) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get(_ROLE_LABEL, ""))
    return ",".join(sorted(roles - {""})) or NONE


def _address(status: _Object, kind: str) -> str:
    for address in status.get("addresses") or ():
        if address["type"] == kind:
            return str(address["address"])
    return NONE


def _phase(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("status", {}).get("phase", ""), age(obj, now)]


def _config_map(obj: _Object, now: datetime) -> Cells:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _service_account(obj: _Object, now: datetime) -> Cells:
    return [name(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _quota(obj: _Object, now: datetime) -> Cells:
    status = obj.get("status", {})
    used, hard = status.get("used") or {}, status.get("hard") or {}
    shown = {key: f"{key}: {used.get(key, '0')}/{hard[key]}" for key in sorted(hard)}
    return [
        name(obj),
        ", ".join(text for key, text in shown.items() if not key.startswith("limits.")),
        ", ".join(text for key, text in shown.items() if key.startswith("limits.")),
        age(obj, now),
    ]


def _lease(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("spec", {}).get("holderIdentity", ""), age(obj, now)]


def _event(obj: _Object, now: datetime) -> Cells:
    """Both views of an event, the core one and that of events.k8s.io, whose old fields are `deprecated…`."""
    series = obj.get("series") or {}
    first = since(_either(obj, "firstTimestamp", "deprecatedFirstTimestamp") or obj.get("eventTime"), now)
    last_seen = _either(obj, "lastTimestamp", "deprecatedLastTimestamp")
    last = since(last_seen, now) if last_seen else first
    if series:
        last = since(series.get("lastObservedTime"), now)
    target = _either(obj, "involvedObject", "regarding") or {}
    kind = target.get("kind", "").lower()
    source = _either(obj, "source", "deprecatedSource") or {}
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{target['name']}" if target.get("name") else kind,
        target.get("fieldPath", ""),
        _event_source(obj, source),
        (_either(obj, "message", "note") or "").strip(),
        first,
        series.get("count") or _either(obj, "count", "deprecatedCount") or 1,
        name(obj),
    ]


def _either(obj: _Object, field: str, other: str) -> Any:
    return obj.get(field) or obj.get(other)


def _event_source(obj: _Object, source: _Object) -> str:
    component = (
        source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    )
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def _priority_class(obj: _Object, now: datetime) -> Cells:
    return [
        name(obj),
        obj.get("value", 0),
        obj.get("globalDefault", False),
        age(obj, now),
        obj.get("preemptionPolicy", ""),
    ]


def _runtime_class(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("handler", ""), age(obj, now)]


def _component_status(obj: _Object, now: datetime) -> Cells:
    healthy = [c for c in obj.get("conditions") or () if c.get("type") == "Healthy"]
    condition: _Object = healthy[-1] if healthy else {}
    state = {"True": "Healthy", "False": "Unhealthy"}.get(condition.get("status", ""), "Unknown")
    return [name(obj), state, condition.get("message", ""), condition.get("error", "")]


_EVENTS: Final = layout(
    _event, "Last Seen", "Type", "Reason", "Object", "Subobject+", "Source+", "Message", "First Seen+",
    "Count+", "Name+",
)  # fmt: skip

LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("", "nodes"): layout(
        _node, "Name", "Status", "Roles", "Age", "Version", "Internal-IP+", "External-IP+", "OS-Image+",
        "Kernel-Version+", "Container-Runtime+",
    ),
    ("", "namespaces"): layout(_phase, "Name", "Status", "Age"),
    ("", "configmaps"): layout(_config_map, "Name", "Data", "Age"),
    ("", "secrets"): layout(_secret, "Name", "Type", "Data", "Age"),
    ("", "serviceaccounts"): layout(_service_account, "Name", "Secrets", "Age"),
    ("", "resourcequotas"): layout(_quota, "Name", "Request", "Limit", "Age"),
    ("", "events"): _EVENTS,
    ("events.k8s.io", "events"): _EVENTS,
    ("", "componentstatuses"): layout(_component_status, "Name", "Status", "Message", "Error"),
    ("coordination.k8s.io", "leases"): layout(_lease, "Name", "Holder", "Age"),
    ("scheduling.k8s.io", "priorityclasses"): layout(
        _priority_class, "Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"
    ),
    ("node.k8s.io", "runtimeclasses"): layout(_runtime_class, "Name", "Handler", "Age"),
}  # fmt: skip
