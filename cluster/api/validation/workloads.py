"""Deployment, ReplicaSet, ReplicationController, DaemonSet, StatefulSet, ControllerRevision."""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object
from cluster.api.selectors import matches_object_form
from cluster.api.validation import formats
from cluster.api.validation.pods import validate_pod_template
from cluster.api.validation.report import Report
from cluster.api.validation.selectors import selects_everything, validate_label_selector

_MISMATCH = "`selector` does not match template `labels`"
_ZERO_AND_ZERO = "cannot be 0 when maxSurge is 0"
_RETENTION = ("Delete", "Retain")
_FREE_OF_STATEFUL_SET = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def validate_deployment(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_count(spec, "replicas", report)
    _validate_selector(spec, "deployment", report)
    _validate_template(spec, "Deployment", report)
    _validate_deployment_strategy(spec["strategy"], report)
    _validate_count(spec, "minReadySeconds", report)
    _validate_count(spec, "revisionHistoryLimit", report)
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        report.not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= spec.get("minReadySeconds", 0):
            report.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def validate_deployment_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    validate_deployment(new, report)
    _validate_same_selector(new, old, report)


def validate_replica_set(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_count(spec, "replicas", report)
    _validate_count(spec, "minReadySeconds", report)
    _validate_selector(spec, "deployment", report)
    _validate_template(spec, "ReplicaSet", report)


def validate_replica_set_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    validate_replica_set(new, report)
    _validate_same_selector(new, old, report)


def validate_replication_controller(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_count(spec, "minReadySeconds", report)
    if not spec.get("selector"):
        report.required("spec.selector")
    _validate_count(spec, "replicas", report)
    template = spec.get("template")
    if not template:
        report.required("spec.template")
        return
    labels = template.get("metadata", {}).get("labels") or {}
    selector = spec.get("selector") or {}
    if selector and not selector.items() <= labels.items():
        report.invalid("spec.template.metadata.labels", labels, _MISMATCH)
    validate_pod_template(template, "spec.template", report)
    _validate_always_restarts(template, report)


def validate_daemon_set(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_selector(spec, "daemonset", report)
    _validate_template(spec, "DaemonSet", report)
    _validate_count(spec, "minReadySeconds", report)
    _validate_daemon_set_strategy(spec["updateStrategy"], report)
    _validate_count(spec, "revisionHistoryLimit", report)


def validate_daemon_set_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    validate_daemon_set(new, report)
    _validate_same_selector(new, old, report)


def validate_stateful_set(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        report.required("spec.podManagementPolicy")
    elif policy not in ("OrderedReady", "Parallel"):
        report.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    _validate_stateful_set_strategy(spec["updateStrategy"], report)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        report.one_of(
            f"spec.persistentVolumeClaimRetentionPolicy.{field}",
            retention.get(field),
            _RETENTION,
            needed=False,
        )
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        _validate_count(spec, field, report)
    if start := (spec.get("ordinals") or {}).get("start"):
        report.not_negative("spec.ordinals.start", start)
    _validate_selector(spec, "statefulset", report)
    _validate_template(spec, "StatefulSet", report)
    if name := spec.get("serviceName"):
        report.invalid_each("spec.serviceName", name, formats.dns_subdomain(name))


def validate_stateful_set_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    validate_stateful_set(new, report)
    kept, former = (
        {name: value for name, value in obj["spec"].items() if name not in _FREE_OF_STATEFUL_SET}
        for obj in (new, old)
    )
    if kept != former:
        named = ", ".join(f"'{name}'" for name in _FREE_OF_STATEFUL_SET[:-1])
        report.forbidden(
            "spec",
            f"updates to statefulset spec for fields other than {named} and "
            f"'{_FREE_OF_STATEFUL_SET[-1]}' are forbidden",
        )


def validate_controller_revision(obj: Object, report: Report) -> None:
    if obj.get("data") is None:
        report.required("data", "data is mandatory")
    report.not_negative("revision", obj["revision"])


def validate_controller_revision_update(new: Object, old: Object, report: Report) -> None:
    validate_controller_revision(new, report)
    report.immutable("data", new.get("data"), old.get("data"))


def validate_pod_template_object(obj: Object, report: Report) -> None:
    """A PodTemplate."""
    validate_pod_template(obj.get("template") or {}, "template", report)


def _validate_count(spec: Object, field: str, report: Report) -> None:
    if (value := spec.get(field, 0)) < 0:
        report.not_negative(f"spec.{field}", value)


def _validate_selector(spec: Object, kind: str, report: Report) -> None:
    selector = spec.get("selector")
    if selector is None:
        report.required("spec.selector")
        return
    validate_label_selector(selector, "spec.selector", report)
    if selects_everything(selector):
        report.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")


def _validate_same_selector(new: Object, old: Object, report: Report) -> None:
    report.immutable("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


def _validate_template(spec: Object, kind: str, report: Report) -> None:
    template = spec.get("template")
    if not template:
        report.required("spec.template")
        return
    selector = spec.get("selector")
    if selector and not selects_everything(selector):
        labels = template.get("metadata", {}).get("labels") or {}
        if _is_selector(selector) and not matches_object_form(selector, labels):
            report.invalid("spec.template.metadata.labels", labels, _MISMATCH)
    validate_pod_template(template, "spec.template", report)
    _validate_always_restarts(template, report)
    if "activeDeadlineSeconds" in template.get("spec", {}):
        report.forbidden(
            "spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported"
        )


def _is_selector(selector: Object) -> bool:
    """Whether it can be matched against labels at all."""
    probe = Report()
    validate_label_selector(selector, "", probe)
    return not probe.causes


def _validate_always_restarts(template: Object, report: Report) -> None:
    policy = template.get("spec", {}).get("restartPolicy", "")
    if policy != "Always" and policy in ("OnFailure", "Never"):
        report.unsupported("spec.template.spec.restartPolicy", policy, ("Always",))


def _validate_deployment_strategy(strategy: Object, report: Report) -> None:
    kind = strategy.get("type", "")
    if kind == "Recreate":
        if "rollingUpdate" in strategy:
            report.forbidden(
                "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
            )
    elif kind == "RollingUpdate":
        _validate_rolling_update(strategy.get("rollingUpdate") or {}, "spec.strategy.rollingUpdate", report)
    else:
        shown = {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}
        report.unsupported("spec.strategy", shown, ("Recreate", "RollingUpdate"))


def _validate_rolling_update(update: Object, path: str, report: Report) -> None:
    unavailable, surge = update.get("maxUnavailable", 0), update.get("maxSurge", 0)
    validate_int_or_percent(unavailable, f"{path}.maxUnavailable", report)
    validate_int_or_percent(surge, f"{path}.maxSurge", report)
    if _is_zero(unavailable) and _is_zero(surge):
        report.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    _validate_not_over_100_percent(unavailable, f"{path}.maxUnavailable", report)


def _validate_daemon_set_strategy(strategy: Object, report: Report) -> None:
    kind = strategy.get("type", "")
    if kind == "RollingUpdate":
        update = strategy.get("rollingUpdate")
        path = "spec.updateStrategy.rollingUpdate"
        if update is None:
            report.required(path)
            return
        unavailable, surge = update.get("maxUnavailable", 0), update.get("maxSurge", 0)
        for field, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            validate_int_or_percent(value, f"{path}.{field}", report)
            _validate_not_over_100_percent(value, f"{path}.{field}", report)
        if _is_zero(unavailable) and _is_zero(surge):
            report.required(f"{path}.maxUnavailable", _ZERO_AND_ZERO)
        elif not _is_zero(unavailable) and not _is_zero(surge):
            report.invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif kind != "OnDelete":
        shown = {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}
        report.unsupported("spec.updateStrategy", shown, ("RollingUpdate", "OnDelete"))


def _validate_stateful_set_strategy(strategy: Object, report: Report) -> None:
    kind, update = strategy.get("type", ""), strategy.get("rollingUpdate")
    if not kind:
        report.required("spec.updateStrategy")
    elif kind == "OnDelete":
        if update is not None:
            report.invalid(
                "spec.updateStrategy.rollingUpdate", update, "only allowed for updateStrategy 'RollingUpdate'"
            )
    elif kind == "RollingUpdate":
        path = "spec.updateStrategy.rollingUpdate"
        if update is None:
            return
        report.not_negative(f"{path}.partition", update.get("partition", 0))
        if (unavailable := update.get("maxUnavailable")) is not None:
            validate_int_or_percent(unavailable, f"{path}.maxUnavailable", report)
            if _is_zero(unavailable):
                report.invalid(f"{path}.maxUnavailable", unavailable, "cannot be 0")
            _validate_not_over_100_percent(unavailable, f"{path}.maxUnavailable", report)
    else:
        report.invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")


def validate_int_or_percent(value: Any, path: str, report: Report) -> None:
    if isinstance(value, str):
        report.invalid_each(path, value, formats.percent(value))
    else:
        report.not_negative(path, value)


def _is_zero(value: Any) -> bool:
    return value in (0, "0%")


def _validate_not_over_100_percent(value: Any, path: str, report: Report) -> None:
    if isinstance(value, str) and not formats.percent(value) and int(value[:-1]) > 100:
        report.invalid(path, value, "must not be greater than 100%")
