"""Carrying a preemption out: victims are marked and deleted, the pod gets its nominated node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.api import kinds
from cluster.api.client import ApiClient, PatchType
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Object, condition_of, timestamp
from cluster.api.selectors import LabelSelector, of_object_form
from cluster.reconcile.recorder import Recorder
from cluster.reconcile.world import World
from cluster.scheduler.configuration import DEFAULT_NAME
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.preemption import Preemption


class Evictions:
    def __init__(self, world: World, client: ApiClient) -> None:
        self._client = client
        self._clock = world.clock
        self._log = world.log
        self._budgets = world.informers.of(kinds.POD_DISRUPTION_BUDGETS)
        self._line: asyncio.Queue[tuple[PodInfo, Preemption, Recorder]] = asyncio.Queue()

    def budgets(self, namespace: str) -> Sequence[tuple[LabelSelector, int]]:
        return [
            (
                of_object_form(budget["spec"].get("selector")),
                budget.get("status", {}).get("disruptionsAllowed", 0),
            )
            for budget in self._budgets.list(namespace)
        ]

    def start(self, pod: PodInfo, preemption: Preemption, recorder: Recorder) -> None:
        self._line.put_nowait((pod, preemption, recorder))

    async def work(self) -> None:
        while True:
            pod, preemption, recorder = await self._line.get()
            try:
                await self._status(pod, {"nominatedNodeName": preemption.node})
                for victim in preemption.victims:
                    await self._evict(victim, pod, preemption.node, recorder)
            except NotFound:
                continue
            except ApiError as error:
                self._log.warning("preemption failed", pod=str(pod.key), error=error.message)

    async def _evict(self, victim: PodInfo, pod: PodInfo, node: str, recorder: Recorder) -> None:
        if victim.terminating:
            return
        name = pod.object["spec"].get("schedulerName", DEFAULT_NAME)
        try:
            if condition_of(victim.object, "DisruptionTarget") is None:
                condition = {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "lastTransitionTime": timestamp(self._clock.now()),
                    "reason": "PreemptionByScheduler",
                    "message": f"{name}: preempting to accommodate a higher priority pod",
                }
                await self._status(victim, {"conditions": [condition]})
            await self._client.delete(kinds.PODS, victim.name, namespace=victim.namespace, uid=victim.uid)
        except NotFound:
            return
        message = f"Preempted by pod {pod.uid} on node {node}"
        recorder.event(victim.object, "Normal", "Preempted", message)

    async def _status(self, pod: PodInfo, status: Object) -> None:
        await self._client.patch(
            kinds.PODS,
            pod.name,
            {"metadata": {"uid": pod.uid}, "status": status},
            namespace=pod.namespace,
            kind=PatchType.STRATEGIC,
            subresource="status",
        )
