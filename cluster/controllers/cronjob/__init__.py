"""CronJob: creates Jobs on time and keeps a short history of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError, NotFound
from cluster.api.objects import Key, Object, copy_of, owner_reference, timestamp
from cluster.controllers.cronjob.due import due, is_too_late
from cluster.controllers.cronjob.schedule import Schedule, ScheduleError, parse
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import enqueue_owner, index_by_controller, owned
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

NAME = "cronjob-controller"
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
SLACK_S = 0.1
"""How long after the exact time the next look is taken."""


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    cron_jobs = world.informers.of(kinds.CRON_JOBS)
    jobs = world.informers.of(kinds.JOBS)
    return Controller(
        CronJobs(world),
        queue,
        watches=[(cron_jobs, enqueue(queue)), (jobs, enqueue_owner(queue, cron_jobs, selector=None))],
    )


def finished_as(job: Object) -> str:
    """Complete, Failed, or nothing."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return ""


def superfluous(cron_job: Object, jobs: Sequence[Object]) -> list[Object]:
    """The finished Jobs beyond the history limits, oldest first."""
    doomed: list[Object] = []
    limits = (("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1))
    for ending, field, default in limits:
        ended = sorted((job for job in jobs if finished_as(job) == ending), key=_age)
        limit = cron_job["spec"].get(field, default)
        doomed += ended[: max(0, len(ended) - limit)]
    return [job for job in doomed if "deletionTimestamp" not in job["metadata"]]


def _age(job: Object) -> tuple[str, str]:
    started = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
    return started, job["metadata"]["name"]


def job_for(cron_job: Object, at: datetime, zone: tzinfo) -> Object:
    """The Job of one start; its name follows from the time, so the same start never runs twice."""
    template, meta = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    parts = template.get("metadata") or {}
    local = at.astimezone(zone)
    stamp = timestamp(at) if zone is UTC else local.isoformat(timespec="seconds")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{meta['name']}-{int(at.timestamp()) // 60}",
            "namespace": meta["namespace"],
            "labels": dict(parts.get("labels") or {}),
            "annotations": {**(parts.get("annotations") or {}), SCHEDULED_AT: stamp},
            "ownerReferences": [owner_reference(cron_job)],
        },
        "spec": copy_of(template["spec"]),
    }


class CronJobs:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._cron_jobs = world.informers.of(kinds.CRON_JOBS)
        self._jobs = world.informers.of(kinds.JOBS)
        index_by_controller(self._jobs)

    async def reconcile(self, key: Key) -> float | None:
        cron_job = self._cron_jobs.get(key)
        if cron_job is None:
            return None
        jobs = owned(self._jobs, cron_job)
        status = self._followed(cron_job, jobs)
        again_s: float | None = None
        if "deletionTimestamp" not in cron_job["metadata"] and not cron_job["spec"].get("suspend"):
            again_s = await self._start(cron_job, status, jobs)
        if status != (cron_job.get("status") or {}):
            await self._client.update(kinds.CRON_JOBS, cron_job | {"status": status}, subresource="status")
        if "deletionTimestamp" not in cron_job["metadata"]:
            for job in superfluous(cron_job, jobs):
                await self._delete(cron_job, job)
        return again_s

    def _followed(self, cron_job: Object, jobs: Sequence[Object]) -> Object:
        """The status with ended and vanished Jobs taken out of the active ones."""
        status = dict(cron_job.get("status") or {})
        by_uid = {job["metadata"]["uid"]: job for job in jobs}
        active: list[Object] = []
        for reference in status.get("active") or ():
            job = by_uid.get(reference["uid"])
            if job is None:
                message = f"Active job went missing: {reference['name']}"
                self._recorder.event(cron_job, "Normal", "MissingJob", message)
            elif finished_as(job):
                message = f"Saw completed job: {reference['name']}, condition: {finished_as(job)}"
                self._recorder.event(cron_job, "Normal", "SawCompletedJob", message)
                _note_success(status, job)
            else:
                active.append(reference)
        known = {reference["uid"]: None for reference in active}
        for job in jobs:
            if not finished_as(job) and job["metadata"]["uid"] not in known:
                name = job["metadata"]["name"]
                if SCHEDULED_AT in (job["metadata"].get("annotations") or {}):
                    # Started here, and the note of it got lost: without it Forbid would start another.
                    active.append(_reference(job))
                    continue
                message = f"Saw a job that the controller did not create or forgot: {name}"
                self._recorder.event(cron_job, "Warning", "UnexpectedJob", message)
        _set_active(status, active)
        return status

    async def _start(self, cron_job: Object, status: Object, jobs: Sequence[Object]) -> float | None:
        """Starts what is due; the seconds until the next start."""
        schedule = self._schedule(cron_job)
        if schedule is None:
            return None
        now = self._clock.now()
        found = due(cron_job, schedule, now)
        again_s = (found.next - now).total_seconds() + SLACK_S if found.next is not None else None
        if found.too_many_missed:
            self._recorder.event(
                cron_job,
                "Warning",
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock "
                "skew",
            )
        if found.at is None:
            return again_s
        if is_too_late(cron_job, found.at, now):
            when = found.at.strftime("%a, %d %b %Y %H:%M:%S %z")
            message = f"Missed scheduled time to start a job: {when}"
            self._recorder.event(cron_job, "Warning", "MissSchedule", message)
            return again_s
        await self._run(cron_job, status, jobs, job_for(cron_job, found.at, schedule.zone), found.at)
        return again_s

    def _schedule(self, cron_job: Object) -> Schedule | None:
        spec = cron_job["spec"]
        zone: tzinfo = UTC
        if spec.get("timeZone"):
            try:
                zone = ZoneInfo(spec["timeZone"])
            except (ZoneInfoNotFoundError, ValueError):
                message = f'invalid timeZone: "{spec["timeZone"]}": unknown time zone {spec["timeZone"]}'
                self._recorder.event(cron_job, "Warning", "UnknownTimeZone", message)
                return None
        try:
            return parse(spec["schedule"], zone)
        except ScheduleError as error:
            message = f'unparseable schedule: "{spec["schedule"]}" : {error}'
            self._recorder.event(cron_job, "Warning", "UnparseableSchedule", message)
            return None

    async def _run(
        self, cron_job: Object, status: Object, jobs: Sequence[Object], job: Object, at: datetime
    ) -> None:
        active: list[Object] = list(status.get("active") or ())
        policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and active:
            self._recorder.event(
                cron_job,
                "Normal",
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid",
            )
            return
        if policy == "Replace":
            running = {reference["uid"]: None for reference in active}
            for each in jobs:
                if each["metadata"]["uid"] in running:
                    await self._delete(cron_job, each)
            active = []
        created = await self._create(cron_job, job)
        if created is None:
            return
        uid = created["metadata"]["uid"]
        if all(each["uid"] != uid for each in active) and not finished_as(created):
            active.append(_reference(created))
        _set_active(status, active)
        status["lastScheduleTime"] = timestamp(at)

    async def _create(self, cron_job: Object, job: Object) -> Object | None:
        namespace = job["metadata"]["namespace"]
        try:
            created = await self._client.create(kinds.JOBS, job, namespace=namespace)
        except AlreadyExists:
            return await self._client.get(kinds.JOBS, job["metadata"]["name"], namespace=namespace)
        except ApiError as error:
            if is_namespace_terminating(error):
                return None
            self._recorder.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error.message}")
            raise
        message = f"Created job {created['metadata']['name']}"
        self._recorder.event(cron_job, "Normal", "SuccessfulCreate", message)
        return created

    async def _delete(self, cron_job: Object, job: Object) -> None:
        meta = job["metadata"]
        try:
            await self._client.delete(
                kinds.JOBS,
                meta["name"],
                namespace=meta["namespace"],
                uid=meta["uid"],
                propagation="Background",
            )
        except NotFound:
            return
        except ApiError as error:
            message = f"Deleted job: {error.message}"
            self._recorder.event(cron_job, "Warning", "FailedDelete", message)
            raise
        self._recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {meta['name']}")


def _reference(job: Object) -> Object:
    """As in status.active."""
    meta = job["metadata"]
    return {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _note_success(status: Object, job: Object) -> None:
    at = job.get("status", {}).get("completionTime")
    if finished_as(job) == "Complete" and at and at > status.get("lastSuccessfulTime", ""):
        status["lastSuccessfulTime"] = at


def _set_active(status: Object, active: list[Object]) -> None:
    if active:
        status["active"] = active
    else:
        status.pop("active", None)
