"""Tables of what makes pods: deployments, sets, jobs, autoscalers, disruption budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cluster.api.objects import controller_of
from cluster.api.tables.columns import (
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Layout,
    age,
    format_labels,
    format_selector,
    layout,
    name,
    or_none,
    since,
    template_cells,
    true_conditions,
)

_Object = Mapping[str, Any]


def _pod_spec(obj: _Object) -> Any:
    return obj["spec"].get("template", {}).get("spec", {})


def _deployment(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *template_cells(_pod_spec(obj)),
        format_selector(spec.get("selector")),
    ]


def _replicas(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    selector = spec.get("selector")
    plain = obj.get("kind") == "ReplicationController"
    return [
        name(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *template_cells(_pod_spec(obj)),
        format_labels(selector) if plain else format_selector(selector),
    ]


def _daemon_set(obj: _Object, now: datetime) -> Cells:
    status = obj.get("status", {})
    return [
        name(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        format_labels(_pod_spec(obj).get("nodeSelector")),
        age(obj, now),
        *template_cells(_pod_spec(obj)),
        format_selector(obj["spec"].get("selector")),
    ]


def _stateful_set(obj: _Object, now: datetime) -> Cells:
    ready = obj.get("status", {}).get("readyReplicas", 0)
    return [
        name(obj),
        f"{ready}/{obj['spec'].get('replicas', 0)}",
        age(obj, now),
        *template_cells(_pod_spec(obj)),
    ]


def _job(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        name(obj),
        _job_status(obj),
        _job_completions(spec, status.get("succeeded", 0)),
        _job_duration(status, now),
        age(obj, now),
        *template_cells(_pod_spec(obj)),
        format_selector(spec.get("selector")),
    ]


def _job_status(obj: _Object) -> str:
    true = true_conditions(obj)
    for condition in ("Complete", "Failed"):
        if condition in true:
            return condition
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition in true:
            return condition
    return "Running"


def _job_completions(spec: _Object, succeeded: int) -> str:
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: _Object, now: datetime) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return since(start, datetime.fromisoformat(end) if end else now)


def _cron_job(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    job = spec.get("jobTemplate", {}).get("spec", {})
    last = status.get("lastScheduleTime")
    return [
        name(obj),
        spec.get("schedule", ""),
        or_none(spec.get("timeZone")),
        _flag(spec.get("suspend")),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *template_cells(job.get("template", {}).get("spec", {})),
        format_selector(job.get("selector")),
    ]


def _flag(value: bool | None) -> str:
    return UNSET if value is None else str(value)


def _controller_revision(obj: _Object, now: datetime) -> Cells:
    owner = controller_of(obj)
    controller = NONE
    if owner is not None:
        group = owner["apiVersion"].partition("/")[0] if "/" in owner["apiVersion"] else ""
        kind = owner["kind"].lower()
        controller = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [name(obj), controller, obj.get("revision", 0), age(obj, now)]


def _pod_template(obj: _Object, now: datetime) -> Cells:
    template = obj.get("template", {})
    labels = template.get("metadata", {}).get("labels")
    return [name(obj), *template_cells(template.get("spec", {})), format_labels(labels)]


def _disruption_budget(obj: _Object, now: datetime) -> Cells:
    spec = obj.get("spec", {})
    bounds = (spec.get("minAvailable"), spec.get("maxUnavailable"))
    return [
        name(obj),
        *("N/A" if bound is None else str(bound) for bound in bounds),
        obj.get("status", {}).get("disruptionsAllowed", 0),
        age(obj, now),
    ]


def _autoscaler(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    target = spec["scaleTargetRef"]
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _hpa_v1(spec, status) if obj.get("apiVersion") == "autoscaling/v1" else _hpa_metrics(spec, status),
        UNSET if spec.get("minReplicas") is None else str(spec["minReplicas"]),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _hpa_v1(spec: _Object, status: _Object) -> str:
    if spec.get("targetCPUUtilizationPercentage") is None:
        return NONE
    current = status.get("currentCPUUtilizationPercentage")
    shown = UNKNOWN if current is None else f"{current}%"
    return f"cpu: {shown}/{spec['targetCPUUtilizationPercentage']}%"


def _hpa_metrics(spec: _Object, status: _Object) -> str:
    metrics, current = spec.get("metrics") or (), status.get("currentMetrics") or ()
    if not metrics:
        return NONE
    shown = [_hpa_metric(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics[:2])]
    more = f" + {len(metrics) - 2} more..." if len(metrics) > 2 else ""
    return ", ".join(shown) + more


_SOURCES: Final = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _hpa_metric(metric: _Object, status: _Object) -> str:
    kind = metric.get("type", "")
    if kind not in _SOURCES:
        return "<unknown type>"
    source = metric.get(_SOURCES[kind], {})
    current = (status.get(_SOURCES[kind]) or {}).get("current", {})
    target = source.get("target", {})
    prefix = f"{source.get('name', '')}: " if kind in ("Resource", "ContainerResource") else ""
    if "averageValue" in target:
        suffix = " (avg)" if kind in ("External", "Object") else ""
        return f"{prefix}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{suffix}"
    if prefix:
        used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if used is None else f"{used}%"
        return f"{prefix}{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', UNKNOWN)}"


def _scale(obj: _Object, now: datetime) -> Cells:
    desired, current = obj.get("spec", {}).get("replicas", 0), obj.get("status", {}).get("replicas", 0)
    return [name(obj), desired, current, age(obj, now)]


_TEMPLATE: Final = ("Containers+", "Images+", "Selector+")
_REPLICAS: Final = layout(
    _replicas, "Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", *_TEMPLATE
)
_AUTOSCALERS: Final = layout(
    _autoscaler, "Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"
)

LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("apps", "deployments"): layout(
        _deployment, "Name", "Ready", "Up-to-date", "Available", "Age", *_TEMPLATE
    ),
    ("apps", "replicasets"): _REPLICAS,
    ("", "replicationcontrollers"): _REPLICAS,
    ("apps", "daemonsets"): layout(
        _daemon_set, "Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer",
        "Available:integer", "Node Selector", "Age", *_TEMPLATE,
    ),
    ("apps", "statefulsets"): layout(_stateful_set, "Name", "Ready", "Age", "Containers+", "Images+"),
    ("apps", "controllerrevisions"): layout(_controller_revision, "Name", "Controller", "Revision", "Age"),
    ("batch", "jobs"): layout(_job, "Name", "Status", "Completions", "Duration", "Age", *_TEMPLATE),
    ("batch", "cronjobs"): layout(
        _cron_job, "Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule",
        "Age",
        *_TEMPLATE,
    ),
    ("", "podtemplates"): layout(_pod_template, "Name", "Containers", "Images", "Pod Labels"),
    ("policy", "poddisruptionbudgets"): layout(
        _disruption_budget, "Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"
    ),
    ("autoscaling", "horizontalpodautoscalers"): _AUTOSCALERS,
}  # fmt: skip

SCALE: Final = layout(_scale, "Name", "Desired:integer", "Available:integer", "Age")
