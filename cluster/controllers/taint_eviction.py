"""Deletes pods from nodes with NoExecute taints that they don't tolerate, or no longer.

A toleration with tolerationSeconds lets a pod stay that long, counted from when this controller first saw
the pod under these taints; a taint that goes away in time cancels the deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, condition_of, key_of, timestamp
from cluster.api.tolerations import tolerates
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "taint-eviction-controller"
BY_NODE = "node"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    pods, nodes = world.informers.of(kinds.PODS), world.informers.of(kinds.NODES)
    pods.add_index(BY_NODE, node_name)

    def on_node(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None and (old is None or no_execute(old) != no_execute(new)):
            for pod in pods.by_index(BY_NODE, new["metadata"]["name"]):
                queue.add(key_of(pod), cause)

    def on_pod(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None or new is None or _concerns(old, new):
            add(old, new, cause)

    add = enqueue(queue)
    return Controller(TaintEviction(world), queue, watches=[(nodes, on_node), (pods, on_pod)], workers=8)


class TaintEviction:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._clock = world.clock
        self._recorder = world.recorder(NAME)
        self._pods = world.informers.of(kinds.PODS)
        self._nodes = world.informers.of(kinds.NODES)
        self._since: dict[Key, tuple[str, float]] = {}
        """Pods that will be deleted: their uid, and when they were first seen under a taint."""

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        stays_s = None if pod is None else self._stays_s(pod)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            self._since.pop(key, None)
            return None
        if stays_s is None:
            if self._since.pop(key, None) is not None:
                self._recorder.event(
                    pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}"
                )
            return None
        uid, now = pod["metadata"]["uid"], self._clock.monotonic()
        known, since = self._since.get(key, ("", now))
        if known != uid:
            since = now
            self._since[key] = (uid, since)
        left_s = since + stays_s - now
        if left_s > 0:
            return left_s
        await self._evict(pod, key)
        self._since.pop(key, None)
        return None

    def _stays_s(self, pod: Object) -> float | None:
        """How long the pod may stay on its node; None: for good."""
        node = self._nodes.get(Key("", pod["spec"].get("nodeName", "")))
        taints = [] if node is None else no_execute(node)
        return stays_s(pod["spec"].get("tolerations") or (), taints) if taints else None

    async def _evict(self, pod: Object, key: Key) -> None:
        self._recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        uid = pod["metadata"]["uid"]
        try:
            if condition_of(pod, "DisruptionTarget") is None:
                await self._mark(key, uid)
            await self._client.delete(kinds.PODS, key.name, namespace=key.namespace, uid=uid)
        except NotFound:
            return

    async def _mark(self, key: Key, uid: str) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastTransitionTime": timestamp(self._clock.now()),
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        patch = {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}
        await self._client.patch(
            kinds.PODS,
            key.name,
            patch,
            namespace=key.namespace,
            kind=PatchType.STRATEGIC,
            subresource="status",
        )


def node_name(pod: Object) -> Sequence[str]:
    """Index function: the node a pod is bound to."""
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


def no_execute(node: Object) -> list[Object]:
    return [taint for taint in node["spec"].get("taints", ()) if taint["effect"] == "NoExecute"]


def stays_s(tolerations: Iterable[Object], taints: Iterable[Object]) -> float | None:
    """Seconds that a pod may stay under these taints: 0 if one is not tolerated, None if for good."""
    limits: list[float] = []
    for taint in taints:
        matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not matching:
            return 0.0
        first = matching[0].get("tolerationSeconds")
        if first is not None:
            limits.append(max(float(first), 0.0))
    return min(limits, default=None)


def _concerns(old: Object, new: Object) -> bool:
    """Whether a change of a pod can change its fate here: most are changes of status."""
    return bool(
        old["spec"].get("nodeName") != new["spec"].get("nodeName")
        or old["spec"].get("tolerations") != new["spec"].get("tolerations")
        or old["metadata"]["uid"] != new["metadata"]["uid"]
    )
