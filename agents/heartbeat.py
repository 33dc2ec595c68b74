"""A node's heartbeats: conditions, images and what its pods use; a shortage of memory or disk evicts one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents import machine, pressure, storage
from agents.files import used
from agents.host import PodView
from agents.nodemessages import Beat, NodeMessage
from agents.nodepods import NodePods
from agents.podactor import PodFailed
from agents.runtime import Runtime
from broker.actor import Actor
from cluster.api.objects import Object
from cluster.api.wire import Heartbeat

USAGE_PERIOD_S = 5.0
EVICTION_GRACE_S = 0.0
"""A hard threshold grants none."""


class Heart:
    def __init__(
        self,
        actor: Actor[NodeMessage],
        epoch: str,
        tell: Callable[[Any], None],
        *,
        pods: NodePods,
        runtime: Runtime,
        emit: Callable[[str, str, str, str], None],
        memory_bytes: int,
        storage_bytes: int,
        period_s: float,
    ) -> None:
        self._actor = actor
        self._epoch = epoch
        self._tell = tell
        self._pods = pods
        self._runtime = runtime
        self._emit = emit
        self._signals = (pressure.memory_signal(memory_bytes), pressure.disk_signal(storage_bytes))
        self._period_s = period_s
        self.shutting_down = False
        self._images_told: list[Object] | None = None
        self._addresses_due: list[Object] | None = None
        """For the next heartbeat of this session."""
        self._usage_told = -USAGE_PERIOD_S
        self._pressed_at: dict[str, float] = {}
        """Condition → when it last was so."""

    def begin(self, addresses: list[Object] | None) -> None:
        """A new session knows nothing; `addresses` where the node object has other ones."""
        self._images_told, self._addresses_due = None, addresses

    def beat(self, session: str, applied: int, *, first: bool = False) -> None:
        spread = (0.05, 1.0) if first else (0.96, 1.04)
        self._actor.context.after(
            self._period_s * self._actor.context.chance.uniform(*spread), Beat(), key="beat"
        )
        if not session:
            return
        images = machine.newest_images(self._runtime.images())
        self._tell(
            Heartbeat(
                epoch=self._epoch,
                session=session,
                applied=applied,
                conditions=machine.conditions(pressures=self.pressures(), shutting_down=self.shutting_down),
                images=images if images != self._images_told else None,
                addresses=self._addresses_due,
                usage=self._usage(),
            )
        )
        self._images_told, self._addresses_due = images, None

    def _usage(self) -> dict[str, Any] | None:
        now = self._actor.context.clock.monotonic()
        if now - self._usage_told < USAGE_PERIOD_S:
            return None
        self._usage_told = now
        pods: dict[str, Any] = {}
        consumers: tuple[list[pressure.Consumer], ...] = tuple([] for _ in self._signals)
        cpu, memory = 0.0, 0
        for view in self._pods.views():
            if view.ended:
                continue
            containers = {}
            asked: tuple[dict[str, int], ...] = tuple({} for _ in self._signals)
            for name, container in view.current.items():
                usage = container.usage()
                if usage.asked:
                    asked[0][name] = usage.memory_bytes
                if usage.storage_bytes:
                    asked[1][name] = usage.storage_bytes
                cpu, memory = cpu + usage.cpu_cores, memory + usage.memory_bytes
                containers[name] = {"cpu": usage.cpu_cores, "memory": usage.memory_bytes}
            pods[view.uid] = containers
            pod = self._pods.wanted(view.uid)
            if pod is None or self._evict_for_limits(pod, view):
                continue
            for known, found in zip(consumers, asked, strict=True):
                if found:
                    known.append(pressure.Consumer(pod=pod, containers=found))
        for signal, known in zip(self._signals, consumers, strict=True):
            self._relieve(signal, known)
        return {"node": {"cpu": cpu, "memory": memory}, "pods": pods}

    def _evict_for_limits(self, pod: Object, view: PodView) -> bool:
        """Whether the pod uses more local storage than it may."""
        if not storage.limited(pod):
            return False
        disk = self._runtime.disk(pod)
        volumes = {
            name: used(disk.volume(view.uid, name, in_memory=in_memory))
            for name, in_memory in storage.own_volumes(pod)
        }
        containers = {name: container.storage_bytes() for name, container in view.current.items()}
        message = storage.overuse(pod, volumes, containers)
        if message is None:
            return False
        self._evict(pod, message)
        return True

    def _relieve(self, signal: pressure.Signal, consumers: list[pressure.Consumer]) -> None:
        """Evicts a pod where something runs out."""
        found = pressure.victim(signal, consumers)
        if found is None:
            return
        chosen, message = found
        self._pressed_at[signal.condition] = self._actor.context.clock.monotonic()
        self._evict(chosen.pod, message)

    def _evict(self, pod: Object, message: str) -> None:
        uid = pod["metadata"]["uid"]
        self._emit(uid, "Warning", "Evicted", message)
        self._pods.tell(uid, PodFailed("Evicted", message, EVICTION_GRACE_S))

    def pressures(self) -> tuple[str, ...]:
        """The pressure conditions that hold."""
        now = self._actor.context.clock.monotonic()
        return tuple(
            condition for condition, at in self._pressed_at.items() if now - at < pressure.TRANSITION_S
        )
