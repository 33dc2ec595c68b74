"""Job and CronJob."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cluster.api.objects import Object
from cluster.api.selectors import matches_object_form
from cluster.api.validation.pods import validate_pod_template
from cluster.api.validation.report import Report
from cluster.api.validation.schedules import schedule_error
from cluster.api.validation.selectors import validate_label_selector

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_MODES = ("NonIndexed", "Indexed")
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_FREE_WHILE_SUSPENDED = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
_NAME_LIMIT = 52
"""A job's name has the cron job's and a time; the pod's name comes on top."""


def validate_job(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_job_spec(spec, "spec", report)
    selector = spec.get("selector")
    if selector is None:
        report.required("spec.selector")
        return
    validate_label_selector(selector, "spec.selector", report)
    labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
    if not report.causes and not matches_object_form(selector, labels):
        report.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _validate_job_spec(spec: Object, path: str, report: Report) -> None:
    for field in _COUNTS:
        if (value := spec.get(field, 0)) < 0:
            report.not_negative(f"{path}.{field}", value)
    mode = spec.get("completionMode")
    report.one_of(f"{path}.completionMode", mode, _MODES, needed=False)
    if mode == "Indexed" and "completions" not in spec:
        report.required(f"{path}.completions", "when completion mode is Indexed")
    for field in ("backoffLimitPerIndex", "successPolicy"):
        if field in spec and mode != "Indexed":
            report.invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
    report.one_of(
        f"{path}.podReplacementPolicy", spec.get("podReplacementPolicy"), _REPLACEMENT, needed=False
    )
    template = spec.get("template") or {}
    validate_pod_template(template, f"{path}.template", report)
    policy = template.get("spec", {}).get("restartPolicy", "")
    here = f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        report.required(here, 'valid values: "OnFailure", "Never"')
    elif "podFailurePolicy" in spec and policy != "Never":
        report.invalid(here, policy, "only 'Never' is supported when podFailurePolicy is specified")


def validate_job_update(new: Object, old: Object, report: Report) -> None:
    spec, former = new["spec"], old["spec"]
    if spec == former:
        return
    validate_job(new, report)
    if spec.get("completions") != former.get("completions") and not _is_elastic(spec, former):
        report.immutable("spec.completions", spec.get("completions"), former.get("completions"))
    report.immutable("spec.selector", spec.get("selector"), former.get("selector"))
    _validate_same_template(new, old, report)
    for field in _FIXED:
        report.immutable(f"spec.{field}", spec.get(field), former.get(field))


def _is_elastic(spec: Object, former: Object) -> bool:
    """Indexed jobs may be scaled by changing completions and parallelism together."""
    return (
        former.get("completionMode") == "Indexed"
        and spec.get("completions") == spec.get("parallelism")
        and former.get("completions") is not None
    )


def _validate_same_template(new: Object, old: Object, report: Report) -> None:
    template, former = new["spec"].get("template"), old["spec"].get("template")
    if template == former:
        return
    not_started = old["spec"].get("suspend") and "startTime" not in (old.get("status") or {})
    if not_started and _without_free(template) == _without_free(former):
        return
    report.immutable("spec.template", template, former)


def _without_free(template: Object) -> Object:
    spec = {k: v for k, v in template.get("spec", {}).items() if k not in _FREE_WHILE_SUSPENDED}
    metadata = {k: v for k, v in template.get("metadata", {}).items() if k not in ("labels", "annotations")}
    return template | {"spec": spec, "metadata": metadata}


def validate_cron_job(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    if len(obj["metadata"].get("name", "")) > _NAME_LIMIT:
        report.invalid(
            "metadata.name", obj["metadata"]["name"], f"must be no more than {_NAME_LIMIT} characters"
        )
    schedule = spec.get("schedule", "")
    if not schedule:
        report.required("spec.schedule")
    elif "TZ" in schedule:
        report.invalid(
            "spec.schedule",
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        )
    elif why := schedule_error(schedule):
        report.invalid("spec.schedule", schedule, why)
    _validate_time_zone(spec, report)
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if (value := spec.get(field, 0)) < 0:
            report.not_negative(f"spec.{field}", value)
    report.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), _CONCURRENCY)
    job = spec.get("jobTemplate", {}).get("spec", {})
    if "manualSelector" in job:
        report.unsupported("spec.jobTemplate.spec.manualSelector", job["manualSelector"], ("nil",))
    _validate_job_spec(job, "spec.jobTemplate.spec", report)


def _validate_time_zone(spec: Object, report: Report) -> None:
    zone = spec.get("timeZone")
    if zone is None:
        return
    if not zone:
        report.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        report.invalid(
            "spec.timeZone",
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )
    else:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            report.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
