"""The scheduler's shell: informers fill the snapshot and the queue, one loop places pod after pod.

Placing is synchronous and pure (`placement`); a placed pod is assumed at once and bound by workers beside.
Handlers are told who changed, and say to the queue what happened in words that the plugins know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.actor import Actor
from broker.cause import caused_by
from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Key, Object, condition_of, timestamp
from cluster.reconcile.informer import Handler
from cluster.reconcile.recorder import Recorder
from cluster.reconcile.world import World
from cluster.scheduler.amounts import resizing
from cluster.scheduler.binding import Binder
from cluster.scheduler.configuration import DEFAULT, DEFAULT_NAME, Configuration
from cluster.scheduler.decision import Decision
from cluster.scheduler.evictions import Evictions
from cluster.scheduler.explanation import explanation
from cluster.scheduler.grouping import Grouping
from cluster.scheduler.placement import schedule_one
from cluster.scheduler.plugins.dynamic_resources import outlook
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.preemption import preempt
from cluster.scheduler.profile import Objects, Profile, profile_of, volume_binding
from cluster.scheduler.queue import Happening, SchedulingQueue, Waiting
from cluster.scheduler.snapshot import Snapshot
from cluster.scheduler.templates import Templates

USER = "system:kube-scheduler"
BINDERS = 32
SLICE = 8
"""Pods placed before other work of the process gets a turn."""
SWEEP_S = 30.0
BY_NODE = "node"
_ENDED = ("Succeeded", "Failed")
_OTHERS = {
    kinds.PERSISTENT_VOLUME_CLAIMS: Happening.VOLUME,
    kinds.PERSISTENT_VOLUMES: Happening.VOLUME,
    kinds.STORAGE_CLASSES: Happening.VOLUME,
    kinds.CSI_NODES: Happening.VOLUME,
    kinds.CSI_DRIVERS: Happening.VOLUME,
    kinds.VOLUME_ATTACHMENTS: Happening.VOLUME,
    kinds.RESOURCE_CLAIMS: Happening.DEVICE,
    kinds.DEVICE_CLASSES: Happening.DEVICE,
}
"""What plugins look up beside nodes and pods, and what a change of it is to waiting pods."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What belongs to one profile; the picture of the cluster is shared."""

    profile: Profile
    templates: Templates
    recorder: Recorder


class Scheduler(Actor[None]):
    def __init__(self, world: World, configuration: Configuration = DEFAULT) -> None:
        self._world = world
        self._client = world.client.as_user(USER)
        informers = world.informers
        self._pods = informers.of(kinds.PODS)
        self._nodes = informers.of(kinds.NODES)
        self._namespaces = informers.of(kinds.NAMESPACES)
        attachments = informers.of(kinds.VOLUME_ATTACHMENTS)
        attachments.add_index(BY_NODE, lambda attachment: (attachment["spec"]["nodeName"],))
        self._others = [(informers.of(resource), happening) for resource, happening in _OTHERS.items()]
        self._grouping = Grouping(informers)
        objects = Objects(
            of=lambda resource: informers.of(resource).get,
            all_volumes=informers.of(kinds.PERSISTENT_VOLUMES).list,
            attachments=lambda node: attachments.by_index(BY_NODE, node),
            default_selector=self._grouping.selector_of,
        )
        self.snapshot = Snapshot(self._namespace_labels)
        self._lanes = {
            settings.name: self._lane(profile_of(settings, objects)) for settings in configuration.profiles
        }
        self.queue = SchedulingQueue(world.clock)
        self._binder = Binder(self._client, informers, volume_binding(objects), self._bound)
        self._evictions = Evictions(world, self._client)
        self._conditions: asyncio.Queue[tuple[PodInfo, Object]] = asyncio.Queue()
        self._ends: list[Callable[[], None]] = []

    def _lane(self, profile: Profile) -> Lane:
        return Lane(
            profile,
            Templates(self.snapshot, profile, self._grouping.selector_of),
            self._world.recorder(profile.name),
        )

    def _lane_of(self, pod: PodInfo) -> Lane:
        return self._lanes[_scheduler_name(pod.object)]

    async def started(self) -> None:
        self._ends = [
            self._nodes.on_change(self._node_changed),
            self._pods.on_change(self._pod_changed),
            self._namespaces.on_change(self._namespace_changed),
            *(informer.on_change(self._other_changed(what)) for informer, what in self._others),
            *(informer.on_change(handler) for informer, handler in self._grouping.watches),
        ]
        self.context.run("place", self._place())
        self.context.run("sweep", self._sweep())
        self.context.run("conditions", self._write_conditions())
        self.context.run("evictions", self._evictions.work())
        for number in range(BINDERS):
            self.context.run(f"bind-{number}", self._binder.work())

    async def receive(self, message: None) -> None:
        raise AssertionError("the scheduler is driven by its queue, not by messages")

    async def stopped(self) -> None:
        for end in self._ends:
            end()
        self._ends.clear()
        self.queue.close()

    def explain(self, key: Key) -> Object | None:
        """What the scheduler thinks of a pod now, as a document; None where there is no such pod."""
        pod = self._pods.get(key)
        if pod is None:
            return None
        lane = self._lanes.get(_scheduler_name(pod))
        profile = lane.profile if lane is not None else None
        return explanation(pod, self.snapshot, profile, self.queue.state_of(pod["metadata"]["uid"]))

    # --- placing

    async def _place(self) -> None:
        for informer in (self._pods, self._nodes):
            await informer.synced()
        for informer, _ in (*self._others, *self._grouping.watches):
            await informer.synced()
        placed = 0
        while True:
            waiting = await self.queue.pop()
            node = self._place_one(waiting)
            if node:
                await self._binder.bind(
                    waiting, node, self._lane_of(waiting.pod).profile.arguments.bind_timeout_s
                )
            placed += 1
            if placed % SLICE == 0:
                await asyncio.sleep(0)

    def _place_one(self, waiting: Waiting) -> str:
        """The node that the pod is now assumed on; empty where it has to wait."""
        pod = waiting.pod
        with caused_by(f"t-schedule-{pod.uid}"):
            lane = self._lane_of(pod)
            node = lane.templates.place(pod)
            decision = Decision(node=node) if node else schedule_one(pod, self.snapshot, lane.profile)
            if decision.node:
                self.snapshot.nominated.pop(pod.uid, None)
                self.snapshot.assume(pod, decision.node, self._world.clock.monotonic())
                return decision.node
            evict = preempt(pod, self.snapshot, lane.profile, decision, self._evictions.budgets)
            if evict is not None:
                self.snapshot.nominated[pod.uid] = (pod, evict.node)
                self._evictions.start(pod, evict, lane.recorder)
            if decision.preemption and (claims := outlook(pod)):
                decision.preemption = f"{claims}, {decision.preemption}"
            self.queue.unschedulable(waiting, decision.plugins)
            self._report(pod, "Unschedulable", decision.message())
            return ""

    def _bound(self, waiting: Waiting, node: str, error: ApiError | None) -> None:
        pod = waiting.pod
        if error is None:
            self.queue.remove(pod.uid)
            message = f"Successfully assigned {pod.namespace}/{pod.name} to {node}"
            self._lane_of(pod).recorder.event(pod.object, "Normal", "Scheduled", message)
            return
        self.snapshot.forget(pod.uid)
        if isinstance(error, NotFound) and self._pods.get(pod.key) is None:
            self.queue.remove(pod.uid)
            return
        self.queue.retry(waiting)
        if not isinstance(error, Conflict):
            self._report(pod, "SchedulerError", f"binding rejected: {error.message}")

    def _report(self, pod: PodInfo, reason: str, message: str) -> None:
        """The event and the condition that say why the pod waits."""
        self._lane_of(pod).recorder.event(pod.object, "Warning", "FailedScheduling", message)
        present = condition_of(pod.object, "PodScheduled")
        if present is not None and (present.get("reason"), present.get("message")) == (reason, message):
            return
        condition: Object = {
            "type": "PodScheduled",
            "status": "False",
            "lastTransitionTime": timestamp(self._world.clock.now()),
            "reason": reason,
            "message": message,
        }
        if present is not None and present["status"] == "False":
            condition["lastTransitionTime"] = present.get("lastTransitionTime")
        self._conditions.put_nowait((pod, condition))

    async def _write_conditions(self) -> None:
        while True:
            pod, condition = await self._conditions.get()
            patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
            try:
                await self._client.patch(
                    kinds.PODS,
                    pod.name,
                    patch,
                    namespace=pod.namespace,
                    kind=PatchType.STRATEGIC,
                    subresource="status",
                )
            except (NotFound, Conflict):
                continue
            except ApiError as error:
                self.context.log.warning("pod condition refused", pod=str(pod.key), error=error.message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.queue.wake_leftovers()
            for pod in self.snapshot.expire(self._world.clock.monotonic()):
                self.context.log.warning("binding never seen", pod=str(pod.key), node=pod.node_name)

    # --- what happens in the cluster

    def _pod_changed(self, old: Object | None, new: Object | None, cause: str) -> None:
        if new is None:
            if old is not None:
                self._pod_gone(old)
            return
        if new.get("status", {}).get("phase") in _ENDED:
            self._pod_gone(new)
        elif new["spec"].get("nodeName"):
            self._pod_placed(old, new)
        elif self._is_ours(new):
            self._pod_waits(old, new)

    def _pod_gone(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self.queue.remove(uid)
        self.snapshot.nominated.pop(uid, None)
        if self.snapshot.placed(uid) is not None:
            self.snapshot.remove(uid)
            self.queue.happened(Happening.POD_GONE)

    def _pod_placed(self, old: Object | None, new: Object) -> None:
        uid = new["metadata"]["uid"]
        self.queue.remove(uid)
        self.snapshot.nominated.pop(uid, None)
        known = self.snapshot.placed(uid)
        if known is not None and not self.snapshot.is_assumed(uid) and _counts_the_same(known.object, new):
            return
        placed = PodInfo(new)
        self.snapshot.put(placed)
        if known is not None and any(placed.requests.get(n, 0) < a for n, a in known.requests.items()):
            self.queue.happened(Happening.POD_GONE)
        if known is None or known.labels != (new["metadata"].get("labels") or {}):
            self.queue.happened(Happening.POD_PLACED)

    def _pod_waits(self, old: Object | None, new: Object) -> None:
        uid = new["metadata"]["uid"]
        if "deletionTimestamp" in new["metadata"] or new["spec"].get("schedulingGates"):
            self.queue.remove(uid)
        elif self.snapshot.is_assumed(uid):
            return
        elif old is not None and _counts_the_same(old, new):
            self.queue.update(PodInfo(new))
        else:
            self.queue.add(PodInfo(new))

    def _is_ours(self, pod: Object) -> bool:
        return _scheduler_name(pod) in self._lanes

    def _node_changed(self, old: Object | None, new: Object | None, cause: str) -> None:
        if new is None:
            if old is not None:
                self.snapshot.remove_node(old["metadata"]["name"])
            return
        if old is not None and not _node_differs(old, new):
            return
        self.snapshot.set_node(new)
        if old is None:
            self.queue.happened(Happening.NODE_ADDED)
            return
        if old["metadata"].get("labels") != new["metadata"].get("labels"):
            self.queue.happened(Happening.NODE_LABELS)
        if old.get("spec") != new.get("spec"):
            self.queue.happened(Happening.NODE_TAINTS)
        if old.get("status", {}).get("allocatable") != new.get("status", {}).get("allocatable"):
            self.queue.happened(Happening.NODE_RESOURCES)

    def _namespace_changed(self, old: Object | None, new: Object | None, cause: str) -> None:
        if old is not None and new is not None and _labels(old) != _labels(new):
            self.snapshot.namespace_changed()
            self.queue.happened(Happening.POD_PLACED)

    def _other_changed(self, what: Happening) -> Handler:
        return lambda old, new, cause: self.queue.happened(what)

    def _namespace_labels(self, namespace: str) -> Mapping[str, str]:
        found = self._namespaces.get(Key("", namespace))
        return _labels(found) if found is not None else {}


def _scheduler_name(pod: Object) -> str:
    name: str = pod["spec"].get("schedulerName", DEFAULT_NAME)
    return name


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _counts_the_same(old: Object, new: Object) -> bool:
    """Whether nothing changed that the scheduler looks at."""
    return (
        old["spec"] == new["spec"]
        and _labels(old) == _labels(new)
        and ("deletionTimestamp" in old["metadata"]) == ("deletionTimestamp" in new["metadata"])
        and resizing(old) == resizing(new)
    )


def _node_differs(old: Object, new: Object) -> bool:
    before, after = old.get("status", {}), new.get("status", {})
    return (
        old.get("spec") != new.get("spec")
        or _labels(old) != _labels(new)
        or before.get("allocatable") != after.get("allocatable")
        or before.get("images") != after.get("images")
    )
