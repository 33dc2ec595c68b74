"""DaemonSet: one pod on every node that fits, placed through node affinity and bound by the scheduler."""

from __future__ import annotations

from dataclasses import replace

from cluster.api import kinds
from cluster.api.errors import ApiError
from cluster.api.objects import Key, Object
from cluster.controllers.daemonset import plan as planning
from cluster.controllers.daemonset.placement import fits, pinned_affinity, tolerations
from cluster.controllers.daemonset.plan import Plan, View
from cluster.controllers.history import HASH_LABEL, History, Revisions, hash_label, superfluous
from cluster.reconcile import pods
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import Claims, enqueue_owner, owned, selector_of
from cluster.reconcile.pod_control import PodControl, is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.template import pod_from
from cluster.reconcile.together import IN_FLIGHT_LIMIT, slow_start, together
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

NAME = "daemonset-controller"
SPACING_S = 0.02
FAILED_BACKOFF_S = 1.0
FAILED_BACKOFF_MAX_S = 900.0


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    sets = world.informers.of(kinds.DAEMON_SETS)
    nodes = world.informers.of(kinds.NODES)
    revisions = world.informers.of(kinds.CONTROLLER_REVISIONS)
    return Controller(
        DaemonSets(world),
        queue,
        watches=[
            (sets, enqueue(queue)),
            (world.informers.of(kinds.PODS), enqueue_owner(queue, sets)),
            (revisions, enqueue_owner(queue, sets)),
            (nodes, _enqueue_for_node(queue, sets)),
        ],
    )


def _enqueue_for_node(queue: WorkQueue[Key], sets: Informer) -> Handler:
    """A node came, went, or changed what decides whether it fits: heartbeats don't count."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is not None and new is not None and _same_place(old, new):
            return
        for daemon_set in sets.list():
            before = fits(daemon_set, old) if old is not None else (False, False)
            after = fits(daemon_set, new) if new is not None else (False, False)
            if before != after or new is None:
                meta = daemon_set["metadata"]
                queue.add(Key(meta["namespace"], meta["name"]), cause)

    return handler


def _same_place(old: Object, new: Object) -> bool:
    same_labels = bool(old["metadata"].get("labels") == new["metadata"].get("labels"))
    return same_labels and bool(old["spec"].get("taints") == new["spec"].get("taints"))


class DaemonSets:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._sets = world.informers.of(kinds.DAEMON_SETS)
        self._pods = world.informers.of(kinds.PODS)
        self._nodes = world.informers.of(kinds.NODES)
        self._claims = Claims(self._client, kinds.DAEMON_SETS, self._pods)
        self._revisions = Revisions(
            self._client, kinds.DAEMON_SETS, world.informers.of(kinds.CONTROLLER_REVISIONS)
        )
        self._control = PodControl(self._client, self._recorder)
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}
        """(DaemonSet uid, node) → (when its next failed pod may be deleted, the back-off after that)."""

    async def reconcile(self, key: Key) -> float | None:
        daemon_set = self._sets.get(key)
        if daemon_set is None:
            return None
        selector = selector_of(daemon_set)
        if selector.everything:
            self._recorder.event(
                daemon_set,
                "Warning",
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            )
            return None
        if "deletionTimestamp" in daemon_set["metadata"]:
            return None
        history = await self._revisions.sync(daemon_set)
        mine = await self._claims.settle(daemon_set, selector)
        nodes = list(self._nodes.list())
        view = View(
            daemon_set=daemon_set,
            nodes=nodes,
            places={node["metadata"]["name"]: fits(daemon_set, node) for node in nodes},
            by_node=planning.grouped(mine),
            hash=hash_label(history.current),
            now=self._clock.now(),
        )
        error, again_s = await self._apply(view, planning.manage(view))
        if error is None and planning.is_rolling(daemon_set):
            view = self._renewed(view)
            error, _ = await self._apply(view, planning.roll(view))
        view = self._renewed(view)
        await self._clean_history(view, history)
        await self._write_status(view)
        if error is not None and not is_namespace_terminating(error):
            raise error
        return _soonest(again_s, self._next_look(view))

    def _renewed(self, view: View) -> View:
        """The same view with the pods that there are now."""
        selector = selector_of(view.daemon_set)
        mine = [pod for pod in owned(self._pods, view.daemon_set) if selector.matches_object(pod)]
        return replace(view, by_node=planning.grouped(mine), now=self._clock.now())

    async def _apply(self, view: View, plan: Plan) -> tuple[ApiError | None, float | None]:
        """Carries a plan out; the first error, and when a failed pod is due."""
        daemon_set = view.daemon_set
        doomed, again_s = self._failed_due(daemon_set, plan)
        for pod in plan.succeeded:
            self._say(daemon_set, pod, "Normal", "SucceededDaemonPod", "succeeded", "delete")
        doomed += [*plan.delete, *plan.succeeded]
        outcomes = await together([self._control.delete(pod, daemon_set) for pod in doomed[:IN_FLIGHT_LIMIT]])
        error = next((each for each in outcomes if isinstance(each, ApiError)), None)
        names = plan.create[:IN_FLIGHT_LIMIT]
        _, create_error = await slow_start(
            len(names), lambda number: self._control.create(self._pod(view, names[number]), daemon_set)
        )
        if len(doomed) > IN_FLIGHT_LIMIT or len(plan.create) > IN_FLIGHT_LIMIT:
            again_s = 0.0
        return create_error or error, again_s

    def _failed_due(self, daemon_set: Object, plan: Plan) -> tuple[list[Object], float | None]:
        due: list[Object] = []
        again_s: float | None = None
        now_s = self._clock.monotonic()
        for pod in plan.failed:
            place = (daemon_set["metadata"]["uid"], pod["spec"].get("nodeName", ""))
            at_s, backoff_s = self._failures.get(place, (now_s, FAILED_BACKOFF_S))
            if at_s > now_s:
                again_s = _soonest(again_s, at_s - now_s)
                continue
            self._failures[place] = (now_s + backoff_s, min(backoff_s * 2, FAILED_BACKOFF_MAX_S))
            self._say(daemon_set, pod, "Warning", "FailedDaemonPod", "failed", "kill")
            due.append(pod)
        return due, again_s

    def _say(self, daemon_set: Object, pod: Object, type: str, reason: str, how: str, what: str) -> None:
        meta, node = pod["metadata"], pod["spec"].get("nodeName", "")
        message = (
            f"Found {how} daemon pod {meta['namespace']}/{meta['name']} on node {node}, will try to {what} it"
        )
        self._recorder.event(daemon_set, "Warning" if type == "Warning" else "Normal", reason, message)

    def _pod(self, view: View, node: str) -> Object:
        template = view.daemon_set["spec"]["template"]
        pod = pod_from(template, view.daemon_set)
        labels = {**(pod["metadata"].get("labels") or {}), HASH_LABEL: view.hash}
        if view.template_generation is not None:
            labels["pod-template-generation"] = view.template_generation
        spec = template["spec"]
        pod["metadata"]["labels"] = labels
        pod["spec"] = spec | {
            "tolerations": tolerations(spec),
            "affinity": pinned_affinity(spec, node),
        }
        return pod

    async def _clean_history(self, view: View, history: History) -> None:
        in_use: dict[str, None] = {}
        for members in view.by_node.values():
            for pod in members:
                in_use[(pod["metadata"].get("labels") or {}).get(HASH_LABEL, "")] = None
        limit = view.daemon_set["spec"].get("revisionHistoryLimit", 10)
        await self._revisions.delete(superfluous(history, in_use.keys(), limit))

    async def _write_status(self, view: View) -> None:
        status = planning.status_of(view)
        if status != view.daemon_set.get("status"):
            await self._client.update(
                kinds.DAEMON_SETS, view.daemon_set | {"status": status}, subresource="status"
            )

    def _next_look(self, view: View) -> float | None:
        """When the next ready pod turns available."""
        min_ready_s = view.daemon_set["spec"].get("minReadySeconds", 0)
        if not min_ready_s:
            return None
        return _next_available(view, min_ready_s)


def _next_available(view: View, min_ready_s: int) -> float | None:
    """At the moment of the view, as the status is: a pod that turned available in between would be missed."""
    members = [pod for found in view.by_node.values() for pod in found]
    waits = [pods.available_in(pod, min_ready_s, view.now) for pod in members]
    return min((wait for wait in waits if wait), default=None)


def _soonest(*waits_s: float | None) -> float | None:
    return min((wait for wait in waits_s if wait is not None), default=None)
