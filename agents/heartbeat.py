"""A node's heartbeats: conditions, images and what its pods use; memory that runs short evicts a pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents import machine, pressure
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
        period_s: float,
    ) -> None:
        self._actor = actor
        self._epoch = epoch
        self._tell = tell
        self._pods = pods
        self._runtime = runtime
        self._emit = emit
        self._memory = memory_bytes
        self._period_s = period_s
        self.shutting_down = False
        self._images_told: list[Object] | None = None
        self._addresses_due: list[Object] | None = None
        """For the next heartbeat of this session."""
        self._usage_told = -USAGE_PERIOD_S
        self._pressed_at: float | None = None
        """When memory was last short."""

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
                conditions=machine.conditions(
                    memory_pressure=self._under_pressure(), shutting_down=self.shutting_down
                ),
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
        consumers: list[pressure.Consumer] = []
        cpu, memory = 0.0, 0
        for view in self._pods.views():
            if view.ended:
                continue
            containers = {}
            asked: dict[str, int] = {}
            for name, container in view.current.items():
                usage = container.usage()
                if usage.asked:
                    asked[name] = usage.memory_bytes
                cpu, memory = cpu + usage.cpu_cores, memory + usage.memory_bytes
                containers[name] = {"cpu": usage.cpu_cores, "memory": usage.memory_bytes}
            pods[view.uid] = containers
            if asked and (pod := self._pods.wanted(view.uid)) is not None:
                consumers.append(pressure.Consumer(pod=pod, containers=asked))
        if consumers:
            self._relieve(consumers)
        return {"node": {"cpu": cpu, "memory": memory}, "pods": pods}

    def _relieve(self, consumers: list[pressure.Consumer]) -> None:
        """Evicts a pod where the memory runs out."""
        found = pressure.victim(self._memory, consumers)
        if found is None:
            return
        chosen, message = found
        self._pressed_at = self._actor.context.clock.monotonic()
        uid = chosen.pod["metadata"]["uid"]
        self._emit(uid, "Warning", "Evicted", message)
        self._pods.tell(uid, PodFailed("Evicted", message, EVICTION_GRACE_S))

    def pressures(self) -> tuple[str, ...]:
        """The pressure conditions that hold."""
        return ("MemoryPressure",) if self._under_pressure() else ()

    def _under_pressure(self) -> bool:
        since = self._pressed_at
        return since is not None and self._actor.context.clock.monotonic() - since < pressure.TRANSITION_S
