"""ReplicaSet, and its predecessor ReplicationController: as many active pods as spec.replicas says.

Pods are found by owner reference (and adopted or released by label), created in batches that double from
one and deleted by the ranking in `cluster.reconcile.pods`. The status is computed after the changes, from
the informer that already knows them, so one reconcile usually means one status write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cluster.api import kinds
from cluster.api.errors import ApiError
from cluster.api.objects import Key, Object, controller_of
from cluster.api.resource import Resource
from cluster.api.selectors import LabelSelector, of_map
from cluster.reconcile import conditions, pods
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import (
    BY_CONTROLLER,
    Claims,
    enqueue_owner,
    index_by_controller,
    owned,
    selector_of,
)
from cluster.reconcile.pod_control import PodControl, is_namespace_terminating
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.template import pod_from
from cluster.reconcile.together import IN_FLIGHT_LIMIT, slow_start, together
from cluster.reconcile.world import World

NAME = "replicaset-controller"
SPACING_S = 0.02
SPACING_PER_POD_S = 0.00004
"""A look costs what the set has pods; so does the time until the next one: 0.2 s for 5000. A tenth of it is
work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """What differs between the two kinds."""

    name: str
    resource: Resource
    selector: Callable[[Object], LabelSelector]
    counts_terminating: bool


REPLICA_SET = Flavour(name=NAME, resource=kinds.REPLICA_SETS, selector=selector_of, counts_terminating=True)
REPLICATION_CONTROLLER = Flavour(
    name="replication-controller",
    resource=kinds.REPLICATION_CONTROLLERS,
    selector=lambda obj: of_map(obj["spec"].get("selector")),
    counts_terminating=False,
)


def controller(world: World, flavour: Flavour = REPLICA_SET) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    sets = world.informers.of(flavour.resource)
    all_pods = world.informers.of(kinds.PODS)
    return Controller(
        ReplicaSets(world, flavour, queue),
        queue,
        watches=[(sets, enqueue(queue)), (all_pods, enqueue_owner(queue, sets, selector=flavour.selector))],
    )


def replication_controller(world: World) -> Controller[Key]:
    return controller(world, REPLICATION_CONTROLLER)


@dataclass(frozen=True, slots=True)
class Plan:
    create: int
    delete: Sequence[Object]


def plan(
    wanted: int, active: Sequence[Object], related: Callable[[], Sequence[Object]], now: datetime
) -> Plan:
    """What brings the active pods to the wanted number. `related` is asked only when pods must go."""
    surplus = len(active) - wanted
    if surplus <= 0:
        return Plan(min(-surplus, IN_FLIGHT_LIMIT), ())
    doomed = active if wanted == 0 else pods.by_deletion_rank(active, related(), now)
    return Plan(0, doomed[: min(surplus, IN_FLIGHT_LIMIT)])


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    error: ApiError


def status_of(replica_set: Object, mine: Sequence[Object], failure: Failure | None, now: datetime) -> Object:
    """The status that follows from the set's pods."""
    min_ready_s = replica_set["spec"].get("minReadySeconds", 0)
    template_labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    wanted_labels = template_labels.items()
    active = terminating = labelled = ready = available = 0
    for pod in mine:
        if pods.is_finished(pod):
            continue
        if "deletionTimestamp" in pod["metadata"]:
            terminating += 1
            continue
        active += 1
        labelled += wanted_labels <= (pod["metadata"].get("labels") or {}).items()
        remaining_s = pods.available_in(pod, min_ready_s, now)
        if remaining_s is not None:
            ready += 1
            available += remaining_s == 0
    counts = {
        "fullyLabeledReplicas": labelled,
        "readyReplicas": ready,
        "availableReplicas": available,
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    status: Object = {"replicas": active, "terminatingReplicas": terminating}
    status.update((name, count) for name, count in counts.items() if count)
    held = _conditions(replica_set, failure, now)
    if held:
        status["conditions"] = held
    return status


def next_available(replica_set: Object, mine: Sequence[Object], now: datetime) -> float | None:
    """When the next ready pod is available. `now` is the status' own: a pod that turns available in between
    would be missed by both."""
    min_ready_s = replica_set["spec"].get("minReadySeconds", 0)
    if not min_ready_s:
        return None
    waits = [pods.available_in(pod, min_ready_s, now) for pod in mine if pods.is_active(pod)]
    return min((wait for wait in waits if wait), default=None)


def _conditions(replica_set: Object, failure: Failure | None, now: datetime) -> list[Object]:
    held = list(replica_set.get("status", {}).get("conditions") or ())
    if failure is None:
        return conditions.without_condition(held, "ReplicaFailure")
    if conditions.find(held, "ReplicaFailure") is not None:
        return held
    failed = conditions.new("ReplicaFailure", "True", failure.reason, failure.error.message, now)
    return conditions.with_condition(held, failed)


class ReplicaSets:
    def __init__(self, world: World, flavour: Flavour, queue: WorkQueue[Key]) -> None:
        self.name = flavour.name
        self._flavour = flavour
        self._queue = queue
        self._clock = world.clock
        self._client = world.client_as(flavour.name)
        self._sets = world.informers.of(flavour.resource)
        self._pods = world.informers.of(kinds.PODS)
        index_by_controller(self._sets)
        self._claims = Claims(self._client, flavour.resource, self._pods)
        self._control = PodControl(self._client, world.recorder(flavour.name))

    async def reconcile(self, key: Key) -> float | None:
        replica_set = self._sets.get(key)
        if replica_set is None:
            self._queue.space(key, 0.0)
            return None
        selector = self._flavour.selector(replica_set)
        mine = await self._claims.settle(replica_set, selector)
        self._queue.space(key, len(mine) * SPACING_PER_POD_S)
        failure: Failure | None = None
        again_s: float | None = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            steps = self._steps(replica_set, mine)
            if steps.create or steps.delete:
                failure, again_s = await self._carry_out(replica_set, steps)
                mine = self._current(replica_set, selector)
        now = self._clock.now()
        await self._write_status(replica_set, mine, failure, now)
        if failure is not None and not is_namespace_terminating(failure.error):
            raise failure.error
        return again_s if again_s is not None else next_available(replica_set, mine, now)

    def _steps(self, replica_set: Object, mine: Sequence[Object]) -> Plan:
        wanted = replica_set["spec"].get("replicas", 1)
        active = [pod for pod in mine if pods.is_active(pod)]
        return plan(wanted, active, lambda: self._related(replica_set), self._clock.now())

    async def _carry_out(self, replica_set: Object, steps: Plan) -> tuple[Failure | None, float | None]:
        again_s = 0.0 if len(steps.delete) == IN_FLIGHT_LIMIT or steps.create == IN_FLIGHT_LIMIT else None
        if steps.create:
            template = replica_set["spec"]["template"]
            _, error = await slow_start(
                steps.create, lambda _: self._control.create(pod_from(template, replica_set), replica_set)
            )
            return (Failure("FailedCreate", error) if error else None), again_s
        outcomes = await together([self._control.delete(pod, replica_set) for pod in steps.delete])
        errors = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        return (Failure("FailedDelete", errors[0]) if errors else None), again_s

    def _current(self, replica_set: Object, selector: LabelSelector) -> list[Object]:
        return [pod for pod in owned(self._pods, replica_set) if selector.matches_object(pod)]

    def _related(self, replica_set: Object) -> list[Object]:
        """The pods of every ReplicaSet with the same controller (a Deployment's)."""
        reference = controller_of(replica_set)
        if reference is None:
            return owned(self._pods, replica_set)
        siblings = self._sets.by_index(BY_CONTROLLER, reference["uid"])
        return [pod for sibling in siblings for pod in owned(self._pods, sibling)]

    async def _write_status(
        self, replica_set: Object, mine: Sequence[Object], failure: Failure | None, now: datetime
    ) -> None:
        status = status_of(replica_set, mine, failure, now)
        if not self._flavour.counts_terminating:
            del status["terminatingReplicas"]
        if status != replica_set.get("status"):
            await self._client.update(
                self._flavour.resource, replica_set | {"status": status}, subresource="status"
            )
