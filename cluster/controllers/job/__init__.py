"""Job: runs pods until enough have succeeded, or too many have failed.

`tally` counts, `plan` decides, `policies` interpret failures; here the effects are carried out, in the order
that keeps every pod counted exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Key, Object, controller_of, timestamp
from cluster.controllers.job import delays, indexes
from cluster.controllers.job.plan import (
    Backoff,
    Outcome,
    Steps,
    deadline_left_s,
    is_finished,
    is_suspended,
    outcome,
    steps,
)
from cluster.controllers.job.pods import indexed_pod, job_pod
from cluster.controllers.job.tally import FINALIZER, Tally, finished_at, has_finalizer, is_indexed, tally
from cluster.reconcile.conditions import find, with_condition
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import Claims, enqueue_owner, owned, selector_of
from cluster.reconcile.pod_control import PodControl, is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import IN_FLIGHT_LIMIT, slow_start, together
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

NAME = "job-controller"
SPACING_S = 0.05
HELD = "held-by-job"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    jobs = world.informers.of(kinds.JOBS)
    pods = world.informers.of(kinds.PODS)
    return Controller(
        Jobs(world),
        queue,
        watches=[
            (jobs, enqueue(queue)),
            (pods, enqueue_owner(queue, jobs)),
            (pods, _enqueue_for_leftover(queue, jobs)),
        ],
    )


def _enqueue_for_leftover(queue: WorkQueue[Key], jobs: Informer) -> Handler:
    """A pod that is held by the finalizer of a Job that is gone."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for value in _held_by(new) if new is not None else ():
            namespace, _, name = value.partition("/")
            if jobs.get(Key(namespace, name)) is None:
                queue.add(Key(namespace, name), cause)

    return handler


def _held_by(pod: Object) -> tuple[str, ...]:
    """The index HELD: namespace/name of the Job whose finalizer the pod has."""
    reference = controller_of(pod) if has_finalizer(pod) else None
    if reference is None or reference["kind"] != "Job":
        return ()
    return (f"{pod['metadata']['namespace']}/{reference['name']}",)


class Jobs:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._jobs = world.informers.of(kinds.JOBS)
        self._pods = world.informers.of(kinds.PODS)
        self._pods.add_index(HELD, _held_by)
        self._claims = Claims(self._client, kinds.JOBS, self._pods)
        self._control = PodControl(self._client, self._recorder)
        self._backoffs: dict[str, Backoff] = {}
        """By the job's uid."""

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(key)
        if job is None:
            await self._release(list(self._pods.by_index(HELD, str(key))))
            return None
        uid = job["metadata"]["uid"]
        managed_by = job["spec"].get("managedBy")
        if managed_by is not None and managed_by != "kubernetes.io/job-controller":
            return None
        if is_finished(job) or "deletionTimestamp" in job["metadata"]:
            self._backoffs.pop(uid, None)
            await self._release(owned(self._pods, job))
            return None
        mine = await self._claims.settle(job, selector_of(job), add_finalizer=FINALIZER)
        counted = tally(job, mine)
        self._note_ends(uid, counted)
        now = self._clock.now()
        job = await self._note_start(job, now)
        decided = outcome(job, counted, now)
        failures = {} if decided is not None else delays.last_failures(job, counted)
        error, wait_s = await self._manage(job, failures, steps(job, counted, decided))
        await self._account(job, counted, decided, failures)
        if error is not None and not is_namespace_terminating(error):
            raise error
        waits = [wait for wait in (wait_s, deadline_left_s(job, now)) if wait is not None and wait > 0]
        return min(waits, default=None)

    def _note_ends(self, uid: str, counted: Tally) -> None:
        ends = [(finished_at(pod), False) for pod in counted.new_succeeded]
        ends += [(finished_at(pod), True) for pod in counted.new_failed]
        if ends:
            self._backoffs.setdefault(uid, Backoff()).note(sorted(ends))

    async def _note_start(self, job: Object, now: datetime) -> Object:
        """startTime and the Suspended condition."""
        status = dict(job.get("status") or {})
        conditions = status.get("conditions") or []
        present = find(conditions, "Suspended")
        was_suspended = present is not None and present["status"] == "True"
        suspended = is_suspended(job)
        if suspended and not was_suspended:
            status["conditions"] = with_condition(
                conditions, _condition("Suspended", "True", "JobSuspended", "Job suspended", now)
            )
            status.pop("startTime", None)
            self._recorder.event(job, "Normal", "Suspended", "Job suspended")
        elif not suspended and was_suspended:
            status["conditions"] = with_condition(
                conditions, _condition("Suspended", "False", "JobResumed", "Job resumed", now)
            )
            status["startTime"] = timestamp(now)
            self._recorder.event(job, "Normal", "Resumed", "Job resumed")
        elif not suspended and not status.get("startTime"):
            status["startTime"] = timestamp(now)
        return await self._update_status(job, status)

    async def _manage(
        self, job: Object, failures: Mapping[int, Object], todo: Steps
    ) -> tuple[ApiError | None, float | None]:
        """Deletes and creates pods; the first error, and how long creation has to wait. `failures`: of
        indexes that back off by themselves."""
        doomed = todo.delete[:IN_FLIGHT_LIMIT]
        outcomes = await together([self._control.delete(pod, job) for pod in doomed])
        error = next((each for each in outcomes if isinstance(each, ApiError)), None)
        if error is not None or not todo.create:
            return error, None
        wait_s: float | None = None
        count, ready, now = todo.create, todo.indexes, self._clock.now()
        if delays.has_limit_per_index(job):
            ready, wait_s = delays.split(todo.indexes, failures, now)
            count = len(ready)
        elif (left_s := self._backoffs.get(job["metadata"]["uid"], Backoff()).left_s(now)) > 0:
            return None, left_s
        if count > IN_FLIGHT_LIMIT:
            count, wait_s = IN_FLIGHT_LIMIT, 0.001
        bodies = (
            [indexed_pod(job, index, failures.get(index)) for index in ready[:count]]
            if is_indexed(job)
            else [job_pod(job)] * count
        )
        _, error = await slow_start(count, lambda number: self._control.create(bodies[number], job))
        return error, wait_s

    # Counting

    async def _account(
        self, job: Object, counted: Tally, decided: Outcome | None, failures: Mapping[int, Object]
    ) -> None:
        """Writes down what ended, lets those pods go, then moves them into the counters. `failures` are
        not counted yet: their replacements will say how often their index failed."""
        kept = {pod["metadata"]["uid"]: None for pod in failures.values()}
        counted = replace(
            counted,
            new_failed=[pod for pod in counted.new_failed if pod["metadata"]["uid"] not in kept],
            ignored=[pod for pod in counted.ignored if pod["metadata"]["uid"] not in kept],
        )
        status = self._listed(job, counted, decided)
        job = await self._update_status(job, status)
        uncounted = job["status"].get("uncountedTerminatedPods") or {}
        listed = dict.fromkeys([*(uncounted.get("succeeded") or ()), *(uncounted.get("failed") or ())])
        mine = owned(self._pods, job)
        indexed_ends = counted.new_succeeded if is_indexed(job) else []
        free = {pod["metadata"]["uid"]: None for pod in [*indexed_ends, *counted.ignored]}
        await self._release(
            [p for p in mine if p["metadata"]["uid"] in listed or p["metadata"]["uid"] in free]
        )
        await self._conclude(job, decided)

    def _listed(self, job: Object, counted: Tally, decided: Outcome | None) -> Object:
        """The status with the ended pods listed as uncounted, and the counts of the others."""
        current = tally(job, owned(self._pods, job))
        status = dict(job.get("status") or {})
        succeeded, failed = list(counted.uncounted_succeeded), list(counted.uncounted_failed)
        if not is_indexed(job):
            succeeded += [pod["metadata"]["uid"] for pod in counted.new_succeeded]
        failed += [pod["metadata"]["uid"] for pod in counted.new_failed]
        uncounted: Object = {}
        if succeeded:
            uncounted["succeeded"] = succeeded
        if failed:
            uncounted["failed"] = failed
        status["uncountedTerminatedPods"] = uncounted
        status |= {"ready": current.ready, "terminating": current.terminating}
        _set_count(status, "active", len(current.active))
        if is_indexed(job):
            _set_count(status, "succeeded", len(counted.succeeded_indexes))
            completed = indexes.text_of(counted.succeeded_indexes)
            if completed:
                status["completedIndexes"] = completed
            if job["spec"].get("backoffLimitPerIndex") is not None:
                status["failedIndexes"] = indexes.text_of(counted.failed_indexes)
        if decided is not None:
            now = self._clock.now()
            interim = _condition(decided.interim, "True", decided.reason, decided.message, now)
            status["conditions"] = with_condition(status.get("conditions") or [], interim)
        return status

    async def _release(self, ended: Sequence[Object]) -> None:
        outcomes = await together([self._remove_finalizer(pod) for pod in ended if has_finalizer(pod)])
        for each in outcomes:
            if isinstance(each, ApiError):
                raise each

    async def _remove_finalizer(self, pod: Object) -> None:
        meta = pod["metadata"]
        change = {"uid": meta["uid"], "$deleteFromPrimitiveList/finalizers": [FINALIZER]}
        try:
            await self._client.patch(
                kinds.PODS,
                meta["name"],
                {"metadata": change},
                namespace=meta["namespace"],
                kind=PatchType.STRATEGIC,
            )
        except NotFound:
            return

    async def _conclude(self, job: Object, decided: Outcome | None) -> None:
        """Counts the pods that were let go; ends the Job when nothing is left to count."""
        mine = owned(self._pods, job)
        held = {pod["metadata"]["uid"]: None for pod in mine if has_finalizer(pod)}
        status = dict(job["status"])
        uncounted = status.get("uncountedTerminatedPods") or {}
        left: Object = {}
        for part in ("succeeded", "failed"):
            uids = uncounted.get(part) or []
            waiting = [uid for uid in uids if uid in held]
            _set_count(status, part, status.get(part, 0) + len(uids) - len(waiting))
            if waiting:
                left[part] = waiting
        status["uncountedTerminatedPods"] = left
        busy = any("deletionTimestamp" in p["metadata"] or p["metadata"]["uid"] in held for p in mine)
        if decided is not None and not left and not busy:
            self._finish(job, decided, status)
        await self._update_status(job, status)

    def _finish(self, job: Object, decided: Outcome, status: Object) -> None:
        now = self._clock.now()
        final = _condition(decided.final, "True", decided.reason, decided.message, now)
        status["conditions"] = with_condition(status.get("conditions") or [], final)
        status |= {"ready": 0, "terminating": 0}
        status.pop("active", None)
        if decided.failed:
            self._recorder.event(job, "Warning", decided.reason, decided.message)
        else:
            status["completionTime"] = timestamp(now)
            self._recorder.event(job, "Normal", "Completed", "Job completed")

    async def _update_status(self, job: Object, status: Object) -> Object:
        if status == job.get("status"):
            return job
        return await self._client.update(kinds.JOBS, job | {"status": status}, subresource="status")


def _set_count(status: Object, name: str, count: int) -> None:
    """Zero is left out, as Go's omitempty does."""
    if count:
        status[name] = count
    else:
        status.pop(name, None)


def _condition(type: str, status: str, reason: str, message: str, now: datetime) -> Object:
    return {
        "type": type,
        "status": status,
        "lastProbeTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
        "reason": reason,
        "message": message,
    }
