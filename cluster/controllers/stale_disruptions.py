"""Takes back the condition DisruptionTarget from pods that were marked for an eviction that never came.

Whoever evicts a pod marks it first and deletes it then; a crash in between leaves the mark on a pod that
runs on. Part of Kubernetes' disruption controller, with its two minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, condition_of, key_of, timestamp
from cluster.reconcile.loop import Controller
from cluster.reconcile.pods import is_finished, moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "stale-disruption-controller"
USER = "disruption-controller"
TIMEOUT = timedelta(minutes=2)


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)

    def on_pod(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None and left_s(new, world.clock.now()) is not None:
            queue.add(key_of(new), cause)

    return Controller(
        StaleDisruptions(world), queue, watches=[(world.informers.of(kinds.PODS), on_pod)], workers=1
    )


def left_s(pod: Object, now: datetime) -> float | None:
    """Seconds until the pod's mark is stale; None where it has none, or one that stays."""
    if "deletionTimestamp" in pod["metadata"] or is_finished(pod):
        return None
    mark = condition_of(pod, "DisruptionTarget")
    if mark is None or mark["status"] != "True" or mark.get("reason") == "TerminationByKubelet":
        return None
    return (moment(mark["lastTransitionTime"]) + TIMEOUT - now).total_seconds()


class StaleDisruptions:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(USER)
        self._pods = world.informers.of(kinds.PODS)

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        now = self._clock.now()
        wait_s = left_s(pod, now) if pod is not None else None
        if pod is None or wait_s is None or wait_s > 0:
            return wait_s
        condition = {
            "type": "DisruptionTarget",
            "status": "False",
            "lastTransitionTime": timestamp(now),
            "reason": None,
            "message": None,
        }
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(
                kinds.PODS,
                key.name,
                patch,
                namespace=key.namespace,
                kind=PatchType.STRATEGIC,
                subresource="status",
            )
        except NotFound:
            return None
        return None
