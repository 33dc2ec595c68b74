"""Judges nodes by their heartbeats: silence makes conditions Unknown, conditions become taints, taints
evict.

Every `node_monitor_period_s` each node is looked at. It was heard of when its Lease was renewed or its
status written, by this controller's own clock, so that clocks need not agree; after a restart every node
starts with a full grace period. Taints with NoSchedule follow the conditions at once; the NoExecute taint,
which evicts, is held back by the zone's rate (`node_zones`). The pods of a node that is no longer ready are
marked not ready, so that Services stop sending to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Key, Object, condition_of, key_of, timestamp
from cluster.controllers import node_health
from cluster.controllers.node_zones import Zones, zone_of
from cluster.controllers.taint_eviction import BY_NODE, node_name
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import together
from cluster.reconcile.world import World

NAME = "node-lifecycle-controller"
COMPONENT = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
STALL_S = 0.02
"""A look at the nodes that is later than this was held up by the control plane's load, or its machine's."""
STALL_TOLD_S = 1.0
STARTUP_GRACE_FACTOR = 1.2
"""A node that never reported gets 60 s where others get 50 s."""


@dataclass(slots=True)
class _Health:
    heard_at: float
    renewed: str = ""
    """The Lease's renewTime and the Ready condition's lastHeartbeatTime when last looked at."""
    reported: str = ""


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    lifecycle = NodeLifecycle(world, queue)
    nodes = world.informers.of(kinds.NODES)
    needs = [world.informers.of(kinds.LEASES), world.informers.of(kinds.PODS)]
    loops = [("monitor", lifecycle.monitor), ("evict", lifecycle.evict)]
    return Controller(
        lifecycle, queue, watches=[(nodes, lifecycle.on_node)], needs=needs, workers=8, loops=loops
    )


class NodeLifecycle:
    name = NAME

    def __init__(self, world: World, queue: WorkQueue[Key]) -> None:
        self._queue = queue
        self._client = world.client_as(COMPONENT)
        self._clock = world.clock
        self._timings = world.timings
        self._log = world.log
        self._recorder = world.recorder(COMPONENT)
        self._nodes = world.informers.of(kinds.NODES)
        self._leases = world.informers.of(kinds.LEASES)
        self._pods = world.informers.of(kinds.PODS)
        self._pods.add_index(BY_NODE, node_name)
        self._health: dict[str, _Health] = {}
        self._zones = Zones(world.timings.node_eviction_rate_per_s)
        self._due: dict[str, None] = {}
        """Nodes that wait for their NoExecute taint, in order."""
        self._woken = asyncio.Event()

    def on_node(self, old: Object | None, new: Object | None, cause: str) -> None:
        if new is None:
            if old is not None:
                name = old["metadata"]["name"]
                self._health.pop(name, None)
                self._due.pop(name, None)
                message = f"Node {name} event: Removing Node {name} from Controller"
                self._recorder.event(old, "Normal", "RemovingNode", message)
            return
        if old is None:
            name = new["metadata"]["name"]
            message = f"Node {name} event: Registered Node {name} in Controller"
            self._recorder.event(new, "Normal", "RegisteredNode", message)
            self._queue.add(key_of(new), cause)
        elif _statuses(old) != _statuses(new) or old["spec"] != new["spec"]:
            if node_health.readiness(old) == "True" and node_health.readiness(new) != "True":
                self._note_not_ready(new)
            self._queue.add(key_of(new), cause)

    # --- one node: its taints follow its conditions

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        now = timestamp(self._clock.now())
        taints = node_health.no_schedule_taints(node, now)
        wanted = node_health.eviction_taint(node)
        if not wanted or node_health.has_eviction_taint(node):
            # Taking the taint back, or exchanging one for the other, waits for no rate.
            current = taints if taints is not None else node["spec"].get("taints", [])
            key_now = wanted if not self._zones.all_disrupted else ""
            changed = node_health.with_eviction_taint(current, key_now, now)
            taints = changed if changed is not None else taints
        if taints is not None:
            await self._write_taints(node, taints)
        if wanted:
            self._enqueue_eviction(node)
            await self._mark_pods(key.name)
        else:
            self._due.pop(key.name, None)
        return None

    async def _write_taints(self, node: Object, taints: Sequence[Object]) -> None:
        """With the node's version as precondition: somebody else may be changing taints."""
        spec = {**node["spec"], "taints": list(taints)}
        if not taints:
            del spec["taints"]
        await self._client.update(kinds.NODES, {**node, "spec": spec})

    def _enqueue_eviction(self, node: Object) -> None:
        if not node_health.has_eviction_taint(node):
            self._due[node["metadata"]["name"]] = None
            self._woken.set()

    def _note_not_ready(self, node: Object) -> None:
        name = node["metadata"]["name"]
        message = f"Node {name} status is now: NodeNotReady"
        self._recorder.event(node, "Normal", "NodeNotReady", message)

    async def _mark_pods(self, node: str) -> None:
        ready = [pod for pod in self._pods.by_index(BY_NODE, node) if _is_ready(pod)]
        if not ready:
            return
        for outcome in await together([self._mark(pod) for pod in ready]):
            if isinstance(outcome, ApiError) and not isinstance(outcome, (NotFound, Conflict)):
                raise outcome

    async def _mark(self, pod: Object) -> None:
        condition = condition_of(pod, "Ready")
        assert condition is not None
        now = timestamp(self._clock.now())
        changed = {**condition, "status": "False", "lastTransitionTime": now}
        patch = {
            "metadata": {"uid": pod["metadata"]["uid"]},
            "status": {"conditions": [changed]},
        }
        key = key_of(pod)
        await self._client.patch(
            kinds.PODS,
            key.name,
            patch,
            namespace=key.namespace,
            kind=PatchType.STRATEGIC,
            subresource="status",
        )
        self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    # --- all nodes: who is silent, and how fast may be evicted

    async def monitor(self) -> None:
        while True:
            await self.monitor_once()
            before = self._clock.monotonic()
            await asyncio.sleep(self._timings.node_monitor_period_s)
            self._forgive(self._clock.monotonic() - before - self._timings.node_monitor_period_s)

    async def monitor_once(self) -> None:
        now = self._clock.monotonic()
        silent: list[tuple[Object, list[Object]]] = []
        counts: dict[str, tuple[int, int]] = {}
        for node in list(self._nodes.list()):
            conditions = self._judge(node, now)
            if conditions is not None:
                silent.append((node, conditions))
            ready = conditions is None and node_health.readiness(node) == "True"
            zone = zone_of(node)
            good, bad = counts.get(zone, (0, 0))
            counts[zone] = (good + 1, bad) if ready else (good, bad + 1)
        before = self._zones.all_disrupted
        self._zones.judge(counts, now)
        if before is not self._zones.all_disrupted:
            self._disruption_changed(now)
        for node, conditions in silent:
            await self._write_conditions(node, conditions)
        if self._due:
            self._woken.set()

    def _forgive(self, stall_s: float) -> None:
        """Time in which the control plane itself stood still says nothing about the nodes."""
        if stall_s > STALL_TOLD_S:
            self._log.warning("nodes are given grace for a stall", stall_s=round(stall_s, 3))
        if stall_s > STALL_S:
            for health in self._health.values():
                health.heard_at += stall_s

    def _judge(self, node: Object, now: float) -> list[Object] | None:
        """The conditions to write for a node that is silent for too long."""
        name = node["metadata"]["name"]
        lease = self._leases.get(Key(LEASE_NAMESPACE, name))
        renewed = lease["spec"].get("renewTime", "") if lease else ""
        ready = condition_of(node, "Ready")
        reported = ready.get("lastHeartbeatTime", "") if ready else ""
        health = self._health.get(name)
        if health is None:
            health = self._health[name] = _Health(now, renewed, reported)
        elif renewed != health.renewed or reported != health.reported:
            health.heard_at, health.renewed, health.reported = now, renewed, reported
        grace_s = self._timings.node_monitor_grace_s * (1 if ready else STARTUP_GRACE_FACTOR)
        if now - health.heard_at <= grace_s:
            return None
        return node_health.silent_conditions(node, timestamp(self._clock.now()))

    async def _write_conditions(self, node: Object, conditions: list[Object]) -> None:
        self._log.info("node is silent", node=node["metadata"]["name"])
        body = {**node, "status": {**node.get("status", {}), "conditions": conditions}}
        try:
            await self._client.update(kinds.NODES, body, subresource="status")
        except (Conflict, NotFound):
            return
        except ApiError as error:
            self._log.warning("node not judged", node=node["metadata"]["name"], error=error.message)

    def _disruption_changed(self, now: float) -> None:
        """Every zone is silent: evictions stop and are taken back. Or that is over: everybody gets a new
        grace, since the silence was probably ours."""
        self._log.warning("disruption of all zones", disrupted=self._zones.all_disrupted)
        if not self._zones.all_disrupted:
            for health in self._health.values():
                health.heard_at = now
        for node in self._nodes.list():
            self._queue.add(key_of(node))

    async def evict(self) -> None:
        """Gives NoExecute taints to the nodes that are due, as fast as their zones allow."""
        while True:
            wait_s = await self._evict_due()
            self._woken.clear()
            try:
                async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _evict_due(self) -> float:
        """Seconds until the next zone has a token."""
        soonest = float("inf")
        spent: dict[str, None] = {}
        for name in list(self._due):
            node = self._nodes.get(Key("", name))
            wanted = "" if node is None else node_health.eviction_taint(node)
            if node is None or not wanted or node_health.has_eviction_taint(node):
                self._due.pop(name, None)
                continue
            zone = zone_of(node)
            if zone in spent or self._zones.all_disrupted:
                continue
            wait_s = self._zones.take(zone, self._clock.monotonic())
            if wait_s > 0:
                spent[zone] = None
                soonest = min(soonest, wait_s)
                continue
            await self._taint(node, wanted)
        return max(soonest, 0.01)

    async def _taint(self, node: Object, key: str) -> None:
        now = timestamp(self._clock.now())
        taints = node_health.with_eviction_taint(node["spec"].get("taints", []), key, now)
        if taints is None:
            return
        try:
            await self._write_taints(node, taints)
            self._due.pop(node["metadata"]["name"], None)
        except (Conflict, NotFound):
            return
        except ApiError as error:
            self._log.warning("node not tainted", node=node["metadata"]["name"], error=error.message)


def _statuses(node: Object) -> list[tuple[str, str]]:
    return [(c["type"], c["status"]) for c in node.get("status", {}).get("conditions", ())]


def _is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True"
