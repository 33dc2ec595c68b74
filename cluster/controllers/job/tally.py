"""What a Job's pods amount to: each finished pod counted exactly once. Pure.

Pods carry a finalizer until they are counted. A finished pod's uid goes into
status.uncountedTerminatedPods first, then its finalizer is removed, then it moves into the counters: a
crash in between repeats a step and counts nothing twice. Successes of Indexed Jobs need no uid: their
index says it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cluster.api.objects import Object
from cluster.controllers.job import indexes, policies
from cluster.reconcile import pods
from cluster.reconcile.pods import moment

FINALIZER = "batch.kubernetes.io/job-tracking"


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def has_finalizer(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def replaces_only_failed(job: Object) -> bool:
    """Terminating pods count as running until they have really failed."""
    spec = job["spec"]
    return bool(spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None)


@dataclass(slots=True)
class Tally:
    active: list[Object] = field(default_factory=list)
    terminating: int = 0
    ready: int = 0
    new_succeeded: list[Object] = field(default_factory=list)
    new_failed: list[Object] = field(default_factory=list)
    ignored: list[Object] = field(default_factory=list)
    """Failed pods that the policy says to ignore."""
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    succeeded_indexes: dict[int, None] = field(default_factory=dict)
    failed_indexes: dict[int, None] = field(default_factory=dict)
    succeeded: int = 0
    """Of all times, counted or not."""
    failed: int = 0
    fail_job: str = ""
    """The message of a FailJob rule that a pod met."""


def tally(job: Object, mine: Sequence[Object]) -> Tally:
    status = job.get("status", {})
    uncounted = status.get("uncountedTerminatedPods") or {}
    result = Tally(
        uncounted_succeeded=list(uncounted.get("succeeded") or ()),
        uncounted_failed=list(uncounted.get("failed") or ()),
        succeeded_indexes=indexes.parse(status.get("completedIndexes", "")) if is_indexed(job) else {},
        failed_indexes=indexes.parse(status.get("failedIndexes", "")),
    )
    for pod in mine:
        _sort(job, pod, result)
    result.failed = status.get("failed", 0) + len(result.uncounted_failed) + len(result.new_failed)
    if is_indexed(job):
        result.succeeded = len(result.succeeded_indexes)
    else:
        counted = status.get("succeeded", 0) + len(result.uncounted_succeeded)
        result.succeeded = counted + len(result.new_succeeded)
    return result


def _sort(job: Object, pod: Object, result: Tally) -> None:
    if pods.is_active(pod):
        result.active.append(pod)
        result.ready += pods.is_ready(pod)
        return
    if pods.is_terminating(pod):
        result.terminating += 1
    if not has_finalizer(pod):
        return
    uid = pod["metadata"]["uid"]
    if uid in result.uncounted_succeeded or uid in result.uncounted_failed:
        return
    if pod.get("status", {}).get("phase") == "Succeeded":
        _note_success(job, pod, result)
    elif pod.get("status", {}).get("phase") == "Failed" or not replaces_only_failed(job):
        _note_failure(job, pod, result)


def _note_success(job: Object, pod: Object, result: Tally) -> None:
    result.new_succeeded.append(pod)
    index = indexes.index_of(pod)
    if is_indexed(job) and index is not None and index < job["spec"]["completions"]:
        result.succeeded_indexes[index] = None


def _note_failure(job: Object, pod: Object, result: Tally) -> None:
    verdict = policies.judge(job, pod)
    if verdict.action == "FailJob" and not result.fail_job:
        result.fail_job = verdict.message
    if verdict.action == "Ignore":
        result.ignored.append(pod)
        return
    result.new_failed.append(pod)
    limit = job["spec"].get("backoffLimitPerIndex")
    index = indexes.index_of(pod)
    if limit is None or index is None:
        return
    if verdict.action == "FailIndex" or indexes.failure_count(pod) >= limit:
        result.failed_indexes[index] = None


def finished_at(pod: Object) -> datetime:
    """When the pod ended."""
    status = pod.get("status", {})
    times = [
        terminated["finishedAt"]
        for container in status.get("containerStatuses") or ()
        if (terminated := (container.get("state") or {}).get("terminated")) and terminated.get("finishedAt")
    ]
    if times:
        return max(map(moment, times))
    condition = pods.ready_condition(pod)
    if condition is not None and condition.get("lastTransitionTime"):
        return moment(condition["lastTransitionTime"])
    meta = pod["metadata"]
    return moment(meta.get("deletionTimestamp") or meta["creationTimestamp"])
