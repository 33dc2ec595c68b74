"""Removes pods that nobody else will: on nodes that are gone, deleted before they were scheduled, on nodes
declared out of service, and the oldest finished ones above a threshold.

A sweep, not a reconciler: it looks at all pods every `garbage_sweep_s`. A node that is missing must stay so
for two sweeps, and be missing in the API itself, before its pods count as orphans.
"""

from __future__ import annotations

import asyncio

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Key, Object, condition_of, key_of, timestamp
from cluster.reconcile.loop import Controller
from cluster.reconcile.pods import is_finished
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "pod-garbage-collector"
TERMINATED_LIMIT = 12_500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
QUARANTINE_SWEEPS = 2


def controller(world: World) -> Controller[Key]:
    collector = PodGarbageCollector(world)
    informers = [world.informers.of(kinds.PODS), world.informers.of(kinds.NODES)]
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    return Controller(
        collector, queue, watches=(), needs=informers, workers=0, loops=[("sweep", collector.run)]
    )


class PodGarbageCollector:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._clock = world.clock
        self._log = world.log
        self._period_s = world.timings.garbage_sweep_s
        self._pods = world.informers.of(kinds.PODS)
        self._nodes = world.informers.of(kinds.NODES)
        self._missing: dict[str, float] = {}
        """Since when a node that pods name does not exist."""

    async def reconcile(self, key: Key) -> float | None:
        raise AssertionError("pod garbage is swept, not reconciled")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            await self.sweep()

    async def sweep(self) -> None:
        pods = list(self._pods.list())
        for pod in surplus(pods):
            await self._delete(pod)
        for pod in pods:
            if "deletionTimestamp" in pod["metadata"]:
                node = self._nodes.get(Key("", pod["spec"].get("nodeName", "")))
                if not pod["spec"].get("nodeName") or (node is not None and is_out_of_service(node)):
                    await self._delete(pod)
        gone = await self._gone_nodes(pods)
        for pod in pods:
            if pod["spec"].get("nodeName") in gone:
                await self._delete(pod, "PodGC: node no longer exists")

    async def _gone_nodes(self, pods: list[Object]) -> dict[str, None]:
        named = dict.fromkeys(node for pod in pods if (node := pod["spec"].get("nodeName")))
        missing = [name for name in named if self._nodes.get(Key("", name)) is None]
        now = self._clock.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in missing}
        gone: dict[str, None] = {}
        for name, since in self._missing.items():
            if now - since >= QUARANTINE_SWEEPS * self._period_s and not await self._exists(name):
                gone[name] = None
        return gone

    async def _exists(self, name: str) -> bool:
        try:
            await self._client.get(kinds.NODES, name)
        except NotFound:
            return False
        return True

    async def _delete(self, pod: Object, why: str = "") -> None:
        key, uid = key_of(pod), pod["metadata"]["uid"]
        try:
            if why and not is_finished(pod):
                await self._fail(pod, why)
            await self._client.delete(
                kinds.PODS, key.name, namespace=key.namespace, uid=uid, grace_period_s=0
            )
        except (NotFound, Conflict):
            return
        except ApiError as error:
            self._log.warning("pod not collected", pod=str(key), error=error.message)

    async def _fail(self, pod: Object, why: str) -> None:
        """Marks the pod Failed, so that whoever owns it sees how it ended."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastTransitionTime": timestamp(self._clock.now()),
            "reason": "DeletionByPodGC",
            "message": why,
        }
        status: Object = {"phase": "Failed"}
        if condition_of(pod, "DisruptionTarget") is None:
            status["conditions"] = [condition]
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        key = key_of(pod)
        await self._client.patch(
            kinds.PODS,
            key.name,
            patch,
            namespace=key.namespace,
            kind=PatchType.STRATEGIC,
            subresource="status",
        )


def surplus(pods: list[Object], limit: int = TERMINATED_LIMIT) -> list[Object]:
    """The oldest finished pods above the limit. Evicted ones go first, as in Kubernetes."""
    finished = [pod for pod in pods if is_finished(pod)]
    if len(finished) <= limit:
        return []
    finished.sort(key=_eviction_then_age)
    return finished[: len(finished) - limit]


def is_out_of_service(node: Object) -> bool:
    """Not ready, and declared so by an administrator's taint."""
    ready = condition_of(node, "Ready")
    if ready is not None and ready["status"] == "True":
        return False
    return any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints", ()))


def _eviction_then_age(pod: Object) -> tuple[bool, str, str]:
    evicted = pod.get("status", {}).get("reason") == "Evicted"
    return not evicted, pod["metadata"].get("creationTimestamp", ""), str(key_of(pod))
