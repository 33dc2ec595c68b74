"""PodDisruptionBudget status: how many of the budget's pods may be evicted now.

The eviction subresource takes from status.disruptionsAllowed and notes the pod in status.disruptedPods; this
controller counts again when pods change, and forgets a noted pod that was not deleted within two minutes.
How many pods there should be is asked of their owners: workloads are known here, any other kind is asked
through its scale subresource. Pods without an owner are unmanaged. Where an owner can't be asked (a Job, a
DaemonSet) the budget allows nothing, and its condition says why (SyncFailed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.api import kinds
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.objects import Key, Object, controller_of, key_of, timestamp
from cluster.api.selectors import of_object_form
from cluster.controllers.deployment.sizes import scaled
from cluster.reconcile import pods as podlore
from cluster.reconcile.conditions import find
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import moment
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "disruption-controller"
COMPONENT = "controllermanager"
DELETION_TIMEOUT = timedelta(minutes=2)
SPACING_S = 0.05


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    budgets = world.informers.of(kinds.POD_DISRUPTION_BUDGETS)
    scaled_kinds = (
        kinds.REPLICA_SETS,
        kinds.DEPLOYMENTS,
        kinds.STATEFUL_SETS,
        kinds.REPLICATION_CONTROLLERS,
    )
    return Controller(
        Disruptions(world),
        queue,
        watches=[
            (budgets, enqueue(queue)),
            (world.informers.of(kinds.PODS), _enqueue_budgets(queue, budgets)),
        ],
        needs=[world.informers.of(kind) for kind in scaled_kinds],
    )


def _enqueue_budgets(queue: WorkQueue[Key], budgets: Informer) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        pod = new if new is not None else old
        assert pod is not None
        for budget in budgets.list(pod["metadata"]["namespace"]):
            selector = of_object_form(budget["spec"].get("selector"))
            if selector.matches_object(pod) or (old is not None and selector.matches_object(old)):
                queue.add(Key(budget["metadata"]["namespace"], budget["metadata"]["name"]), cause)

    return handler


@dataclass(frozen=True, slots=True)
class Expected:
    pods: int
    healthy: int


def needs_scale(budget: Object) -> bool:
    """Whether the budget is a share of what the owners want, and no plain number of pods."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or not isinstance(spec.get("minAvailable", 0), int)


def expected(budget: Object, mine: Sequence[Object], total: int) -> Expected:
    """How many pods there should be, and how many of them healthy. `total`: the owners' replicas."""
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        return Expected(total, max(0, total - scaled(spec["maxUnavailable"], total, up=True)))
    least = spec.get("minAvailable", 0)
    if isinstance(least, int):
        return Expected(len(mine), least)
    return Expected(total, scaled(least, total, up=True))


def status_of(
    budget: Object, mine: Sequence[Object], wanted: Expected, disrupted: dict[str, str], now: datetime
) -> Object:
    healthy = sum(
        podlore.is_ready(pod)
        for pod in mine
        if "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["name"] not in disrupted
    )
    allowed = max(0, healthy - wanted.healthy) if wanted.pods > 0 else 0
    generation = budget["metadata"].get("generation", 0)
    status: Object = {
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": wanted.healthy,
        "expectedPods": wanted.pods,
        "observedGeneration": generation,
        "conditions": [_allowed_condition(budget, allowed, now)],
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    return status


def failed_status(budget: Object, why: str, now: datetime) -> Object:
    """Nothing may be disrupted while the budget can't be counted; what was counted before stays."""
    failed = _condition(budget, "False", "SyncFailed", why, now)
    failed["observedGeneration"] = budget.get("status", {}).get("observedGeneration", 0)
    return (budget.get("status") or {}) | {
        "disruptionsAllowed": 0,
        "currentHealthy": budget.get("status", {}).get("currentHealthy", 0),
        "desiredHealthy": budget.get("status", {}).get("desiredHealthy", 0),
        "expectedPods": budget.get("status", {}).get("expectedPods", 0),
        "conditions": [failed],
    }


def _allowed_condition(budget: Object, allowed: int, now: datetime) -> Object:
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    return _condition(budget, status, reason, "", now)


def _condition(budget: Object, status: str, reason: str, message: str, now: datetime) -> Object:
    present = find(budget.get("status", {}).get("conditions") or (), "DisruptionAllowed")
    same = present is not None and present["status"] == status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 0),
        "lastTransitionTime": present["lastTransitionTime"] if same and present else timestamp(now),
        "reason": reason,
        "message": message,
    }


def _unmanaged(budget: Object) -> str:
    selector = of_object_form(budget["spec"].get("selector"))
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. "
        "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
        'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer '
        "value."
    )


class Disruptions:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._registry = world.registry
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(COMPONENT)
        of = world.informers.of
        self._budgets = of(kinds.POD_DISRUPTION_BUDGETS)
        self._pods = of(kinds.PODS)
        self._owners = {
            "ReplicaSet": of(kinds.REPLICA_SETS),
            "Deployment": of(kinds.DEPLOYMENTS),
            "StatefulSet": of(kinds.STATEFUL_SETS),
            "ReplicationController": of(kinds.REPLICATION_CONTROLLERS),
        }

    async def reconcile(self, key: Key) -> float | None:
        budget = self._budgets.get(key)
        if budget is None:
            return None
        try:
            return await self._count(budget)
        except Conflict:
            raise
        except ApiError as error:
            await self._write(budget, failed_status(budget, error.message, self._clock.now()))
            raise

    async def _count(self, budget: Object) -> float | None:
        key = key_of(budget)
        selector = of_object_form(budget["spec"].get("selector"))
        mine = [pod for pod in self._pods.list(key.namespace) if selector.matches_object(pod)]
        if not mine:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        total = await self._total(budget, mine) if needs_scale(budget) else 0
        wanted = expected(budget, mine, total)
        disrupted, again_s = self._still_disrupted(budget, mine)
        status = status_of(budget, mine, wanted, disrupted, self._clock.now())
        await self._write(budget, status)
        return again_s

    async def _write(self, budget: Object, status: Object) -> None:
        if status != budget.get("status"):
            body = budget | {"status": status}
            await self._client.update(kinds.POD_DISRUPTION_BUDGETS, body, subresource="status")

    async def _total(self, budget: Object, mine: Sequence[Object]) -> int:
        try:
            return await self._scale(budget, mine)
        except ApiError as error:
            text = f"Failed to calculate the number of expected pods: {error.message}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            raise

    async def _scale(self, budget: Object, mine: Sequence[Object]) -> int:
        """The replicas that the pods' owners want together."""
        scales: dict[str, int] = {}
        unmanaged = False
        for pod in mine:
            owner = self._owner(pod)
            if owner is not None and owner["kind"] == "ReplicaSet":
                owner = self._owner(owner) or owner
            if owner is not None:
                scales[owner["metadata"]["uid"]] = owner["spec"].get("replicas", 1)
                continue
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference["uid"] not in scales:
                replicas = await self._asked(reference, pod["metadata"]["namespace"])
                if replicas is None:
                    unmanaged = True
                else:
                    scales[reference["uid"]] = replicas
        if unmanaged:
            self._recorder.event(budget, "Warning", "UnmanagedPods", _unmanaged(budget))
        return sum(scales.values())

    async def _asked(self, reference: Object, namespace: str) -> int | None:
        """The replicas of an owner of another kind, by its scale; None where it is gone. Raises ApiError
        for a kind that can't be scaled."""
        resource = self._registry.of_kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            raise ApiError(
                f'no matches for kind "{reference["kind"]}" in version "{reference["apiVersion"]}"'
            )
        if "scale" not in resource.subresources:
            raise ApiError(f"{resource.qualified} does not implement the scale subresource")
        try:
            scale = await self._client.get(
                resource, reference["name"], namespace=namespace, subresource="scale"
            )
        except NotFound:
            return None
        replicas: int = scale["spec"].get("replicas", 0)
        return replicas

    def _owner(self, obj: Object) -> Object | None:
        reference = controller_of(obj)
        informer = self._owners.get(reference["kind"]) if reference is not None else None
        if reference is None or informer is None:
            return None
        owner = informer.get(Key(obj["metadata"]["namespace"], reference["name"]))
        return owner if owner is not None and owner["metadata"]["uid"] == reference["uid"] else None

    def _still_disrupted(self, budget: Object, mine: Sequence[Object]) -> tuple[dict[str, str], float | None]:
        """Evicted pods that are not deleted yet, and when to look at them again."""
        noted: dict[str, str] = budget.get("status", {}).get("disruptedPods") or {}
        by_name = {pod["metadata"]["name"]: pod for pod in mine}
        now = self._clock.now()
        kept: dict[str, str] = {}
        again_s: float | None = None
        for name, at in noted.items():
            pod = by_name.get(name)
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                continue
            left_s = (moment(at) + DELETION_TIMEOUT - now).total_seconds()
            if left_s <= 0:
                meta = budget["metadata"]
                message = (
                    f"Pod was expected by PDB {meta['namespace']}/{meta['name']} to be deleted but it wasn't"
                )
                self._recorder.event(pod, "Warning", "NotDeleted", message)
                continue
            kept[name] = at
            again_s = left_s if again_s is None else min(again_s, left_s)
        return kept, again_s
