"""StatefulSet: numbered pods with stable names and claims, created, updated and deleted in order."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError
from cluster.api.objects import Key, Object
from cluster.controllers.history import History, Revisions, superfluous
from cluster.controllers.statefulset.claims import ClaimKeeper
from cluster.controllers.statefulset.identity import is_member, ordinal_of, pod_for, repaired, revision_of
from cluster.controllers.statefulset.plan import Plan, View, plan, status_of
from cluster.reconcile import pods
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import Claims, enqueue_owner, owned, selector_of
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import together
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

NAME = "statefulset-controller"
SPACING_S = 0.01


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    sets = world.informers.of(kinds.STATEFUL_SETS)
    revisions = world.informers.of(kinds.CONTROLLER_REVISIONS)
    return Controller(
        StatefulSets(world),
        queue,
        watches=[
            (sets, enqueue(queue)),
            (world.informers.of(kinds.PODS), enqueue_owner(queue, sets)),
            (revisions, enqueue_owner(queue, sets)),
        ],
        needs=[world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)],
    )


class StatefulSets:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._sets = world.informers.of(kinds.STATEFUL_SETS)
        self._pods = world.informers.of(kinds.PODS)
        self._claims = Claims(self._client, kinds.STATEFUL_SETS, self._pods)
        self._revisions = Revisions(
            self._client, kinds.STATEFUL_SETS, world.informers.of(kinds.CONTROLLER_REVISIONS)
        )
        self._volumes = ClaimKeeper(
            self._client, world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS), self._recorder
        )

    async def reconcile(self, key: Key) -> float | None:
        stateful_set = self._sets.get(key)
        if stateful_set is None:
            return None
        history = await self._revisions.sync(stateful_set)
        settled = await self._claims.settle(
            stateful_set, selector_of(stateful_set), wanted=lambda pod: is_member(stateful_set, pod)
        )
        view = self._view(stateful_set, settled, history)
        error: ApiError | None = None
        if "deletionTimestamp" not in stateful_set["metadata"]:
            error = await self._apply(view, plan(view), history)
        mine = self._mine(stateful_set)
        view = self._view(stateful_set, mine, history)
        await self._write_status(view, mine)
        await self._clean_history(view, history)
        if error is not None and not is_namespace_terminating(error):
            raise error
        return self._next_look(view)

    def _mine(self, stateful_set: Object) -> list[Object]:
        selector = selector_of(stateful_set)
        return [
            pod
            for pod in owned(self._pods, stateful_set)
            if selector.matches_object(pod) and is_member(stateful_set, pod)
        ]

    def _view(self, stateful_set: Object, mine: list[Object], history: History) -> View:
        update = history.current["metadata"]["name"]
        current = stateful_set.get("status", {}).get("currentRevision") or update
        known = [each["metadata"]["name"] for each in history.olds]
        return View(
            stateful_set=stateful_set,
            by_ordinal={ordinal_of(pod): pod for pod in mine},
            current=current if current in known else update,
            update=update,
            now=self._clock.now(),
        )

    async def _apply(self, view: View, steps: Plan, history: History) -> ApiError | None:
        stateful_set = view.stateful_set
        revisions = {each["metadata"]["name"]: each for each in [*history.olds, history.current]}
        works = [self._delete(stateful_set, pod) for pod in steps.recreate]
        works += [
            self._create(stateful_set, pod_for(stateful_set, revisions[revision], ordinal))
            for ordinal, revision in steps.create
        ]
        works += [self._delete(stateful_set, pod) for pod in steps.delete]
        condemned = {pod["metadata"]["name"]: None for pod in steps.condemned}
        for pod in view.by_ordinal.values():
            await self._keep_identity(stateful_set, pod, condemned=pod["metadata"]["name"] in condemned)
        outcomes = await together(works)
        return next((each for each in outcomes if isinstance(each, ApiError)), None)

    async def _keep_identity(self, stateful_set: Object, pod: Object, *, condemned: bool) -> None:
        if stateful_set["spec"].get("volumeClaimTemplates"):
            await self._volumes.settle_owners(stateful_set, pod, condemned=condemned)
        fixed = repaired(stateful_set, pod)
        if fixed is not None and "deletionTimestamp" not in pod["metadata"]:
            await self._client.update(kinds.PODS, fixed)

    async def _create(self, stateful_set: Object, pod: Object) -> None:
        await self._volumes.provide(stateful_set, pod)
        name, owner = pod["metadata"]["name"], stateful_set["metadata"]["name"]
        about = f"create Pod {name} in StatefulSet {owner}"
        try:
            await self._client.create(kinds.PODS, pod, namespace=pod["metadata"]["namespace"])
        except ApiError as error:
            # Another pod may have the name still: tried again with back-off, without an event.
            if not isinstance(error, AlreadyExists) and not is_namespace_terminating(error):
                message = f"{about} failed error: {error.message}"
                self._recorder.event(stateful_set, "Warning", "FailedCreate", message)
            raise
        self._recorder.event(stateful_set, "Normal", "SuccessfulCreate", f"{about} successful")

    async def _delete(self, stateful_set: Object, pod: Object) -> None:
        meta = pod["metadata"]
        about = f"delete Pod {meta['name']} in StatefulSet {stateful_set['metadata']['name']}"
        try:
            await self._client.delete(kinds.PODS, meta["name"], namespace=meta["namespace"], uid=meta["uid"])
        except ApiError as error:
            message = f"{about} failed error: {error.message}"
            self._recorder.event(stateful_set, "Warning", "FailedDelete", message)
            raise
        self._recorder.event(stateful_set, "Normal", "SuccessfulDelete", f"{about} successful")

    async def _write_status(self, view: View, mine: list[Object]) -> None:
        status = status_of(view, mine)
        if status != view.stateful_set.get("status"):
            await self._client.update(
                kinds.STATEFUL_SETS, view.stateful_set | {"status": status}, subresource="status"
            )

    async def _clean_history(self, view: View, history: History) -> None:
        in_use = {revision_of(pod): None for pod in view.by_ordinal.values()}
        in_use[view.current] = None
        limit = view.spec.get("revisionHistoryLimit", 10)
        await self._revisions.delete(superfluous(history, in_use.keys(), limit))

    def _next_look(self, view: View) -> float | None:
        min_ready_s = view.spec.get("minReadySeconds", 0)
        if not min_ready_s:
            return None
        waits = [pods.available_in(pod, min_ready_s, view.now) for pod in view.by_ordinal.values()]
        return min((wait for wait in waits if wait), default=None)
