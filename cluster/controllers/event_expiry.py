"""Events are deleted an hour after they were last seen.

Divergence: in Kubernetes etcd forgets them by a lease; here each gets a timer.
"""

from __future__ import annotations

from datetime import datetime

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, key_of
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.pods import moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "event-expiry-controller"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    events = world.informers.of(kinds.EVENTS)
    reconciler = EventExpiry(world)
    return Controller(reconciler, queue, watches=[(events, _await_expiry(queue, reconciler))], workers=1)


def _await_expiry(queue: WorkQueue[Key], reconciler: EventExpiry) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None and new is not None:
            queue.add_after(key_of(new), reconciler.left_s(new), cause)

    return handler


def last_seen(event: Object) -> datetime:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(moment(time) for time in times if time)


class EventExpiry:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._ttl_s = world.timings.event_ttl_s
        self._client = world.client_as(NAME)
        self._events = world.informers.of(kinds.EVENTS)

    def left_s(self, event: Object) -> float:
        return self._ttl_s - (self._clock.now() - last_seen(event)).total_seconds()

    async def reconcile(self, key: Key) -> float | None:
        event = self._events.get(key)
        if event is None:
            return None
        left_s = self.left_s(event)
        if left_s > 0:
            return left_s
        uid = event["metadata"]["uid"]
        try:
            await self._client.delete(kinds.EVENTS, key.name, namespace=key.namespace, uid=uid)
        except NotFound:
            return None
        return None
