"""Whether a Job is decided, and which pods it needs meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cluster.api.objects import Object
from cluster.controllers.job import indexes, policies
from cluster.controllers.job.tally import Tally, is_indexed, replaces_only_failed
from cluster.reconcile import pods
from cluster.reconcile.conditions import find
from cluster.reconcile.pods import moment

BACKOFF_INITIAL_S = 10.0
BACKOFF_MAX_S = 600.0
NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the Job comes to: as a condition, first the interim type and then the final one."""

    failed: bool
    reason: str
    message: str

    @property
    def interim(self) -> str:
        return "FailureTarget" if self.failed else "SuccessCriteriaMet"

    @property
    def final(self) -> str:
        return "Failed" if self.failed else "Complete"


@dataclass(slots=True)
class Steps:
    delete: list[Object] = field(default_factory=list)
    create: int = 0
    indexes: list[int] = field(default_factory=list)
    """For Indexed Jobs, one per pod to create."""


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def is_finished(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def outcome(job: Object, counted: Tally, now: datetime) -> Outcome | None:
    """The Job's end, if it has come to one."""
    conditions = job.get("status", {}).get("conditions") or ()
    for type, failed in (("FailureTarget", True), ("SuccessCriteriaMet", False)):
        decided = find(conditions, type)
        if decided is not None and decided["status"] == "True":
            return Outcome(failed, decided.get("reason", ""), decided.get("message", ""))
    return _failure(job, counted, now) or _success(job, counted)


def _failure(job: Object, counted: Tally, now: datetime) -> Outcome | None:
    spec = job["spec"]
    if counted.fail_job:
        return Outcome(True, "PodFailurePolicy", counted.fail_job)
    limit = spec.get("backoffLimit", 6)
    if counted.failed > limit or _restarts_exceed(job, counted.active, limit):
        return Outcome(True, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left_s = deadline_left_s(job, now)
    if left_s is not None and left_s <= 0:
        return Outcome(True, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _failed_indexes(spec, counted) if is_indexed(job) else None


def _restarts_exceed(job: Object, active: Sequence[Object], limit: int) -> bool:
    """Containers that restart inside their pod count too."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        status.get("restartCount", 0)
        for pod in active
        for part in ("initContainerStatuses", "containerStatuses")
        for status in pod.get("status", {}).get(part) or ()
    )
    return bool(restarts >= max(limit, 1))


def deadline_left_s(job: Object, now: datetime) -> float | None:
    seconds = job["spec"].get("activeDeadlineSeconds")
    started = job.get("status", {}).get("startTime")
    if seconds is None or not started or is_suspended(job):
        return None
    return (moment(started) + timedelta(seconds=seconds) - now).total_seconds()


def _failed_indexes(spec: Object, counted: Tally) -> Outcome | None:
    if spec.get("backoffLimitPerIndex") is None or not counted.failed_indexes:
        return None
    limit = spec.get("maxFailedIndexes")
    if limit is not None and len(counted.failed_indexes) > limit:
        message = "Job has exceeded the specified maximal number of failed indexes"
        return Outcome(True, "MaxFailedIndexesExceeded", message)
    if len({**counted.failed_indexes, **counted.succeeded_indexes}) >= spec["completions"]:
        return Outcome(True, "FailedIndexes", "Job has failed indexes")
    return None


def _success(job: Object, counted: Tally) -> Outcome | None:
    met = policies.success(job, counted.succeeded_indexes) if is_indexed(job) else ""
    if met:
        return Outcome(False, "SuccessPolicy", met)
    completions = job["spec"].get("completions")
    if completions is None:
        complete = counted.succeeded > 0 and not counted.active
    else:
        complete = counted.succeeded >= completions and not counted.active
    if complete and not is_suspended(job):
        return Outcome(False, "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def steps(job: Object, counted: Tally, decided: Outcome | None) -> Steps:
    """Pods to delete and to create (creation still waits for the back-off)."""
    if decided is not None or is_suspended(job):
        return Steps(delete=list(counted.active))
    spec = job["spec"]
    parallelism, completions = spec.get("parallelism", 1), spec.get("completions")
    if completions is None:
        wanted = min(len(counted.active), parallelism) if counted.succeeded else parallelism
    else:
        wanted = min(max(0, completions - counted.succeeded - len(counted.failed_indexes)), parallelism)
    result = Steps()
    surplus, kept = _surplus(job, counted, wanted)
    result.delete = surplus
    terminating = counted.terminating if replaces_only_failed(job) else 0
    result.create = max(0, wanted - len(kept) - terminating)
    if is_indexed(job):
        active = dict.fromkeys(map(indexes.index_of, kept))
        taken = (counted.succeeded_indexes, counted.failed_indexes, [i for i in active if i is not None])
        result.indexes = indexes.missing(result.create, completions, *taken)
        result.create = len(result.indexes)
    return result


def _surplus(job: Object, counted: Tally, wanted: int) -> tuple[list[Object], list[Object]]:
    """(pods to delete, pods that stay): duplicates of an index first, then what is least of a loss."""
    doomed: list[Object] = []
    kept: list[Object] = []
    seen: dict[int, None] = {}
    for pod in counted.active:
        index = indexes.index_of(pod) if is_indexed(job) else None
        if is_indexed(job) and (index is None or index in seen or index >= job["spec"]["completions"]):
            doomed.append(pod)
            continue
        if index is not None:
            seen[index] = None
        kept.append(pod)
    extra = len(kept) - wanted
    if extra > 0:
        order = sorted(kept, key=lambda pod: (pods.is_ready(pod), bool(pod["spec"].get("nodeName"))))
        doomed += order[:extra]
        kept = [pod for pod in kept if not any(pod is each for each in order[:extra])]
    return doomed, kept


@dataclass(slots=True)
class Backoff:
    """Failures since the last success, and when the last one was."""

    failures: int = 0
    last: datetime | None = None

    def note(self, ends: Sequence[tuple[datetime, bool]]) -> None:
        """`ends`: (when, whether it failed), in order of time."""
        for at, failed in ends:
            self.failures = self.failures + 1 if failed else 0
            self.last = at if failed else None

    def left_s(self, now: datetime) -> float:
        return 0.0 if self.last is None else backoff_left_s(self.failures, self.last, now)


def backoff_left_s(failures: int, last: datetime, now: datetime) -> float:
    """Seconds until another try after so many failures, the last of them at `last`."""
    if not failures:
        return 0.0
    delay_s = min(BACKOFF_INITIAL_S * 2.0 ** min(failures - 1, 10), BACKOFF_MAX_S)
    return max(0.0, delay_s - (now - last).total_seconds())
