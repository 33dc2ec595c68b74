"""Events, in either group's form: stored as the core kind, checked by the rules of the version they came in.

An event with an eventTime is one of the newer kind wherever it came from, and says who reports what.
"""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_NAMESPACE_OF_CLUSTER_OBJECTS = ("", "default", "kube-system")
_WORD_LIMIT, _NOTE_LIMIT = 128, 1024
_DEPRECATED = ("firstTimestamp", "lastTimestamp", "count", "source")
_FIXED = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count",
    "reportingComponent", "reportingInstance", "action", "related", "type", "eventTime",
)  # fmt: skip
_NAMES = {"reportingComponent": "reportingController"}


def validate_event(obj: Object, report: Report) -> None:
    """By the rules of the core group."""
    _validate_common(obj, "reportingComponent", report)


def validate_new_event(obj: Object, report: Report) -> None:
    """By the rules of events.k8s.io; the object is the core form all the same."""
    _validate_common(obj, "reportingController", report)
    _validate_series(obj, report)
    if not obj.get("eventTime"):
        report.required("eventTime")
    if obj.get("type") not in ("Normal", "Warning"):
        report.invalid("type", "", f"has invalid value: {obj.get('type', '')}")
    for field in _DEPRECATED:
        if obj.get(field):
            report.invalid(field, "", "needs to be unset")


def _validate_common(obj: Object, controller: str, report: Report) -> None:
    involved = (obj.get("involvedObject") or {}).get("namespace", "")
    namespace = obj["metadata"].get("namespace", "")
    matches = namespace == involved if involved else namespace in _NAMESPACE_OF_CLUSTER_OBJECTS
    if not matches:
        report.invalid("involvedObject.namespace", involved, "does not match event.namespace")
    if not obj.get("eventTime"):
        return
    name = obj.get("reportingComponent", "")
    if not name:
        report.required(controller)
    report.invalid_each(controller, name, formats.qualified_name(name))
    for field in ("reportingInstance", "action", "reason"):
        text = obj.get(field, "")
        if not text:
            report.required(field)
        if len(text) > _WORD_LIMIT:
            report.invalid(field, "", f"can have at most {_WORD_LIMIT} characters")
    if len(obj.get("message", "")) > _NOTE_LIMIT:
        report.invalid("message", "", f"can have at most {_NOTE_LIMIT} characters")


def _validate_series(obj: Object, report: Report) -> None:
    series: dict[str, Any] | None = obj.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:
        report.invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        report.required("series.lastObservedTime")


def validate_new_event_update(new: Object, old: Object, report: Report) -> None:
    """Only the series and the metadata of an event go on."""
    for field in _FIXED:
        report.immutable(_NAMES.get(field, field), new.get(field), old.get(field))
    _validate_series(new, report)
