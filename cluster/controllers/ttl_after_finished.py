"""Finished Jobs with ttlSecondsAfterFinished are deleted when that time has passed, pods included."""

from __future__ import annotations

from datetime import datetime, timedelta

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "ttl-after-finished-controller"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    jobs = world.informers.of(kinds.JOBS)
    return Controller(FinishedJobs(world), queue, watches=[(jobs, enqueue(queue))])


def finished_at(job: Object) -> datetime | None:
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return moment(condition["lastTransitionTime"])
    return None


def expires_at(job: Object) -> datetime | None:
    """When the job is to go; None for one that stays or is not finished."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    at = finished_at(job)
    if ttl_s is None or at is None or "deletionTimestamp" in job["metadata"]:
        return None
    return at + timedelta(seconds=ttl_s)


class FinishedJobs:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._jobs = world.informers.of(kinds.JOBS)

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(key)
        at = expires_at(job) if job is not None else None
        if job is None or at is None:
            return None
        left_s = (at - self._clock.now()).total_seconds()
        if left_s > 0:
            return left_s
        meta = job["metadata"]
        try:
            await self._client.delete(
                kinds.JOBS,
                key.name,
                namespace=key.namespace,
                uid=meta["uid"],
                revision=meta["resourceVersion"],
                propagation="Foreground",
            )
        except NotFound:
            return None
        return None
