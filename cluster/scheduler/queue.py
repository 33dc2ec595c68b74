"""Pods that wait for a node.

Three places, as in Kubernetes: *active* (highest priority first, then oldest), *backoff* (failed lately:
1 s doubling to 10 s), *unschedulable* (nothing has happened since that could help). What happens in the
cluster wakes only those pods that a plugin refused which such an event can satisfy; a safety net wakes all
after LEFTOVER_S.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from enum import Enum

from broker.clock import Clock
from cluster.scheduler.pods import PodInfo

BACKOFF_INITIAL_S = 1.0
BACKOFF_MAX_S = 10.0
LEFTOVER_S = 300.0


class Happening(Enum):
    """What can make an unschedulable pod schedulable."""

    NODE_ADDED = "node added"
    NODE_RESOURCES = "node has more resources"
    NODE_LABELS = "node labels changed"
    NODE_TAINTS = "node taints changed"
    POD_PLACED = "pod placed or relabelled"
    POD_GONE = "pod gone"
    VOLUME = "volume, claim or class changed"
    DEVICE = "resource claim or device class changed"


_HELPS: Mapping[Happening, frozenset[str] | None] = {
    Happening.NODE_ADDED: None,
    Happening.NODE_RESOURCES: frozenset({"NodeResourcesFit"}),
    Happening.NODE_LABELS: frozenset(
        {"NodeAffinity", "PodTopologySpread", "InterPodAffinity", "VolumeBinding", "VolumeZone"}
    ),
    Happening.NODE_TAINTS: frozenset({"TaintToleration", "NodeUnschedulable", "PodTopologySpread"}),
    Happening.POD_PLACED: frozenset({"InterPodAffinity", "PodTopologySpread"}),
    Happening.POD_GONE: frozenset(
        {
            "NodeResourcesFit",
            "NodePorts",
            "InterPodAffinity",
            "PodTopologySpread",
            "VolumeRestrictions",
            "NodeVolumeLimits",
            "DynamicResources",
        }
    ),
    Happening.VOLUME: frozenset({"VolumeBinding", "VolumeRestrictions", "NodeVolumeLimits", "VolumeZone"}),
    Happening.DEVICE: frozenset({"DynamicResources"}),
}
"""Which plugins' refusals an event may lift; None: any."""


class Waiting:
    """One pod in the queue."""

    __slots__ = ("attempts", "number", "parked_at", "plugins", "pod")

    def __init__(self, pod: PodInfo, number: int) -> None:
        self.pod = pod
        self.number = number
        self.attempts = 0
        self.plugins: tuple[str, ...] = ()
        self.parked_at = 0.0

    @property
    def backoff_s(self) -> float:
        if not self.attempts:
            return 0.0
        return float(min(BACKOFF_INITIAL_S * 2.0 ** min(self.attempts - 1, 10), BACKOFF_MAX_S))


class SchedulingQueue:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Waiting] = {}
        self._active: list[tuple[int, int, str]] = []
        self._in_active: dict[str, None] = {}
        self._backoff: dict[str, asyncio.TimerHandle] = {}
        self._parked: dict[str, Waiting] = {}
        self._numbers = 0
        self._ready = asyncio.Event()

    def lengths(self) -> dict[str, int]:
        """As scheduler_pending_pods names them."""
        return {
            "active": len(self._in_active),
            "backoff": len(self._backoff),
            "unschedulable": len(self._parked),
        }

    def state_of(self, uid: str) -> tuple[str, Waiting] | None:
        """Where a pod waits (as in `lengths`), and what is known of it; None if it doesn't."""
        waiting = self._known.get(uid)
        if waiting is None:
            return None
        if uid in self._parked:
            return "unschedulable", waiting
        return ("backoff" if uid in self._backoff else "active"), waiting

    def add(self, pod: PodInfo) -> None:
        """A new pod, or a changed one: a change of its own may help it."""
        waiting = self._known.get(pod.uid)
        if waiting is None:
            self._numbers += 1
            waiting = self._known[pod.uid] = Waiting(pod, self._numbers)
            self._activate(waiting)
            return
        waiting.pod = pod
        if pod.uid in self._parked:
            self._wake(waiting)

    def update(self, pod: PodInfo) -> None:
        """The pod changed in a way that can't help it (its status)."""
        if waiting := self._known.get(pod.uid):
            waiting.pod = pod

    def remove(self, uid: str) -> None:
        if self._known.pop(uid, None) is None:
            return
        self._in_active.pop(uid, None)
        self._parked.pop(uid, None)
        if timer := self._backoff.pop(uid, None):
            timer.cancel()

    async def pop(self) -> Waiting:
        """The next pod to be placed. It stays known until `remove`: say `failed` or `done` next."""
        while True:
            found = self._next()
            if found is not None:
                found.attempts += 1
                return found
            self._ready.clear()
            await self._ready.wait()

    @property
    def has_active(self) -> bool:
        return bool(self._in_active)

    def unschedulable(self, waiting: Waiting, plugins: tuple[str, ...]) -> None:
        """Parks a pod that these plugins refused."""
        if waiting.pod.uid not in self._known:
            return
        waiting.plugins = plugins
        waiting.parked_at = self._clock.monotonic()
        self._parked[waiting.pod.uid] = waiting

    def retry(self, waiting: Waiting) -> None:
        """Something else failed (the binding): again after the back-off."""
        if waiting.pod.uid in self._known:
            self._wait(waiting, waiting.backoff_s)

    def happened(self, what: Happening) -> None:
        helped = _HELPS[what]
        for waiting in list(self._parked.values()):
            if helped is None or not waiting.plugins or not helped.isdisjoint(waiting.plugins):
                self._wake(waiting)

    def wake_leftovers(self) -> None:
        """Gives pods that were parked for long another try, whatever happened."""
        horizon = self._clock.monotonic() - LEFTOVER_S
        for waiting in [w for w in self._parked.values() if w.parked_at <= horizon]:
            self._wake(waiting)

    def close(self) -> None:
        for timer in self._backoff.values():
            timer.cancel()
        self._backoff.clear()

    def _next(self) -> Waiting | None:
        while self._active:
            _, _, uid = heapq.heappop(self._active)
            if uid in self._in_active:
                del self._in_active[uid]
                return self._known[uid]
        return None

    def _wake(self, waiting: Waiting) -> None:
        """From parked to active, or to backoff for what is left of it."""
        del self._parked[waiting.pod.uid]
        self._wait(waiting, waiting.backoff_s - (self._clock.monotonic() - waiting.parked_at))

    def _wait(self, waiting: Waiting, delay_s: float) -> None:
        if delay_s <= 0:
            self._activate(waiting)
            return
        loop = asyncio.get_running_loop()
        self._backoff[waiting.pod.uid] = loop.call_later(delay_s, self._ripe, waiting)

    def _ripe(self, waiting: Waiting) -> None:
        del self._backoff[waiting.pod.uid]
        self._activate(waiting)

    def _activate(self, waiting: Waiting) -> None:
        uid = waiting.pod.uid
        if uid in self._in_active:
            return
        self._in_active[uid] = None
        heapq.heappush(self._active, (-waiting.pod.priority, waiting.number, uid))
        self._ready.set()
