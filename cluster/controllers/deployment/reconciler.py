"""Carries out what `sizes`, `revisions` and `status` decide for one Deployment: one step per reconcile.

Divergence: the revision annotation is written with a metadata patch, where Kubernetes smuggles it in with
a status update; and a set whose desired-replicas annotation alone is stale gets it corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from cluster.api.objects import Key, Object, controller_of
from cluster.controllers.deployment import revisions, sizes
from cluster.controllers.deployment import status as statuses
from cluster.reconcile import pods
from cluster.reconcile.conditions import find, with_condition
from cluster.reconcile.owners import BY_CONTROLLER, Claims, selector_of
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.template import same_template
from cluster.reconcile.world import World

NAME = "deployment-controller"


@dataclass(slots=True)
class Rollout:
    """One Deployment and its ReplicaSets, as far as this reconcile knows them."""

    deployment: Object
    new: Object | None
    olds: list[Object]


class Deployments:
    name = NAME

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._deployments = world.informers.of(kinds.DEPLOYMENTS)
        self._pods = world.informers.of(kinds.PODS)
        self._sets = world.informers.of(kinds.REPLICA_SETS)
        self._claims = Claims(self._client, kinds.DEPLOYMENTS, self._sets)

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return None
        selector = selector_of(deployment)
        if selector.everything:
            await self._refuse(deployment)
            return None
        sets = await self._claims.settle(deployment, selector)
        if "deletionTimestamp" in deployment["metadata"]:
            rollout = self._sorted(deployment, sets)
            await self._write_status(rollout, rolling=False)
            return None
        rollout = self._sorted(await self._note_pause(deployment), sets)
        if deployment["spec"].get("paused") or sizes.is_scaling(deployment, sets):
            await self._rescale(rollout)
        elif sizes.is_rolling(deployment):
            await self._roll(rollout)
        else:
            await self._recreate(rollout)
        return statuses.next_look(rollout.deployment, self._clock.now())

    async def _refuse(self, deployment: Object) -> None:
        self._recorder.event(
            deployment,
            "Warning",
            "SelectingAll",
            "This deployment is selecting all pods. A non-empty selector is required.",
        )
        generation = deployment["metadata"].get("generation", 0)
        if sizes.status_count(deployment, "observedGeneration") < generation:
            status = deployment.get("status", {}) | {"observedGeneration": generation}
            await self._update_status(deployment, status)

    def _sorted(self, deployment: Object, sets: Sequence[Object]) -> Rollout:
        new = revisions.new_set(deployment, sets)
        return Rollout(deployment, new, [each for each in sets if each is not new])

    async def _note_pause(self, deployment: Object) -> Object:
        """Keeps the Progressing condition honest about spec.paused, so that the deadline stands still."""
        if not statuses.has_deadline(deployment):
            return deployment
        held = deployment.get("status", {}).get("conditions") or ()
        current = find(held, "Progressing")
        if current is not None and current["reason"] == "ProgressDeadlineExceeded":
            return deployment
        noted = current is not None and current["reason"] == "DeploymentPaused"
        paused = bool(deployment["spec"].get("paused"))
        if paused == noted:
            return deployment
        reason, message = (
            ("DeploymentPaused", "Deployment is paused")
            if paused
            else ("DeploymentResumed", "Deployment is resumed")
        )
        changed = statuses.progressing("Unknown", reason, message, self._clock.now())
        status = deployment.get("status", {}) | {"conditions": with_condition(held, changed)}
        return await self._update_status(deployment, status)

    # The three ways to go on

    async def _rescale(self, rollout: Rollout) -> None:
        await self._sync_revision(rollout, create=False)
        await self._resize(rollout, sizes.rescale(rollout.deployment, rollout.new, rollout.olds))
        if rollout.deployment["spec"].get("paused"):
            await self._clean_up(rollout)
        await self._write_status(rollout, rolling=False)

    async def _roll(self, rollout: Rollout) -> None:
        await self._sync_revision(rollout, create=True)
        deployment, new, olds = rollout.deployment, rollout.new, rollout.olds
        assert new is not None
        grow = sizes.grow_new(deployment, new, olds)
        steps = [grow] if grow is not None else sizes.shrink_old(deployment, new, olds)
        await self._resize(rollout, steps)
        if not steps and statuses.is_complete(deployment, deployment.get("status", {})):
            await self._clean_up(rollout)
        await self._write_status(rollout, rolling=True)

    async def _recreate(self, rollout: Rollout) -> None:
        await self._sync_revision(rollout, create=False)
        steps = sizes.stop_all(rollout.olds)
        if steps:
            await self._resize(rollout, steps)
        elif not self._old_pods_run(rollout):
            if rollout.new is None:
                await self._sync_revision(rollout, create=True)
            assert rollout.new is not None
            grow = sizes.grow_new(rollout.deployment, rollout.new, rollout.olds)
            await self._resize(rollout, [grow] if grow is not None else [])
            if statuses.is_complete(rollout.deployment, rollout.deployment.get("status", {})):
                await self._clean_up(rollout)
        await self._write_status(rollout, rolling=True)

    def _old_pods_run(self, rollout: Rollout) -> bool:
        return any(
            sizes.status_count(each, "replicas")
            or any(
                not pods.is_finished(pod)
                for pod in self._pods.by_index(BY_CONTROLLER, each["metadata"]["uid"])
            )
            for each in rollout.olds
        )

    # Effects

    async def _sync_revision(self, rollout: Rollout, *, create: bool) -> None:
        """Numbers the current ReplicaSet, creating it if there is none and `create` says so."""
        revision = revisions.next_revision(rollout.olds)
        if rollout.new is not None:
            await self._renew(rollout, rollout.new, revision)
        elif create:
            await self._create(rollout, revision)

    async def _renew(self, rollout: Rollout, new: Object, revision: int) -> None:
        deployment = rollout.deployment
        annotations = revisions.annotations_of(deployment, new, revision, exists=True)
        min_ready_s = deployment["spec"].get("minReadySeconds", 0)
        if (
            annotations != (new["metadata"].get("annotations") or {})
            or new["spec"].get("minReadySeconds", 0) != min_ready_s
        ):
            meta = new["metadata"] | {"annotations": annotations}
            spec = new["spec"] | {"minReadySeconds": min_ready_s}
            new = rollout.new = await self._client.update(
                kinds.REPLICA_SETS, new | {"metadata": meta, "spec": spec}
            )
        await self._note_revision(rollout, annotations[revisions.REVISION])
        conditions = rollout.deployment.get("status", {}).get("conditions") or ()
        if find(conditions, "Progressing") is None:
            name = new["metadata"]["name"]
            await self._note_progress(
                rollout, "True", "FoundNewReplicaSet", f'Found new replica set "{name}"'
            )

    async def _create(self, rollout: Rollout, revision: int) -> None:
        deployment = rollout.deployment
        replicas = sizes.first_size(deployment, rollout.olds)
        wanted = revisions.built(deployment, revision, replicas)
        name = wanted["metadata"]["name"]
        try:
            rollout.new = await self._client.create(
                kinds.REPLICA_SETS, wanted, namespace=deployment["metadata"]["namespace"]
            )
        except AlreadyExists:
            rollout.new = await self._existing(deployment, name)
            await self._note_revision(rollout, str(revision))
            return
        except ApiError as error:
            await self._say_create_failed(rollout, name, error)
            raise
        if replicas:
            self._say_scaled(deployment, rollout.new, 0, replicas)
        await self._note_revision(rollout, str(revision))
        await self._note_progress(
            rollout, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"'
        )

    async def _existing(self, deployment: Object, name: str) -> Object:
        """The ReplicaSet that has the name: ours, or a hash collision to be avoided next time."""
        namespace = deployment["metadata"]["namespace"]
        found = await self._client.get(kinds.REPLICA_SETS, name, namespace=namespace)
        reference = controller_of(found)
        ours = reference is not None and reference["uid"] == deployment["metadata"]["uid"]
        if ours and same_template(found["spec"]["template"], deployment["spec"]["template"]):
            return found
        collisions = sizes.status_count(deployment, "collisionCount") + 1
        status = deployment.get("status", {}) | {"collisionCount": collisions}
        await self._update_status(deployment, status)
        raise Conflict(f'replica set "{name}" has another template')

    async def _say_create_failed(self, rollout: Rollout, name: str, error: ApiError) -> None:
        if is_namespace_terminating(error):
            return
        message = f'Failed to create new replica set "{name}": {error.message}'
        await self._note_progress(rollout, "False", "ReplicaSetCreateError", message)
        self._recorder.event(rollout.deployment, "Warning", "ReplicaSetCreateError", message)

    async def _note_revision(self, rollout: Rollout, revision: str) -> None:
        meta = rollout.deployment["metadata"]
        if (meta.get("annotations") or {}).get(revisions.REVISION) != revision:
            rollout.deployment = await self._client.patch(
                kinds.DEPLOYMENTS,
                meta["name"],
                {"metadata": {"uid": meta["uid"], "annotations": {revisions.REVISION: revision}}},
                namespace=meta["namespace"],
            )

    async def _note_progress(self, rollout: Rollout, status: str, reason: str, message: str) -> None:
        if not statuses.has_deadline(rollout.deployment):
            return
        noted = statuses.progressing(status, reason, message, self._clock.now())
        present = rollout.deployment.get("status", {})
        held = with_condition(present.get("conditions") or (), noted)
        if held != present.get("conditions"):
            rollout.deployment = await self._update_status(rollout.deployment, present | {"conditions": held})

    async def _resize(self, rollout: Rollout, steps: Sequence[sizes.Resize]) -> None:
        sizing = revisions.sizing_annotations(rollout.deployment)
        for step in steps:
            meta, before = step.replica_set["metadata"], sizes.size(step.replica_set)
            annotations = (meta.get("annotations") or {}) | sizing
            if before == step.to and annotations == meta.get("annotations"):
                continue
            updated = await self._client.update(
                kinds.REPLICA_SETS,
                step.replica_set
                | {
                    "metadata": meta | {"annotations": annotations},
                    "spec": step.replica_set["spec"] | {"replicas": step.to},
                },
            )
            if before != step.to:
                self._say_scaled(rollout.deployment, updated, before, step.to)
            if step.replica_set is rollout.new:
                rollout.new = updated
            else:
                rollout.olds = [updated if each is step.replica_set else each for each in rollout.olds]

    def _say_scaled(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        name = replica_set["metadata"]["name"]
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self._recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _clean_up(self, rollout: Rollout) -> None:
        for each in revisions.superfluous(rollout.deployment, rollout.olds):
            meta = each["metadata"]
            try:
                await self._client.delete(
                    kinds.REPLICA_SETS, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
                )
            except NotFound:
                continue

    async def _write_status(self, rollout: Rollout, *, rolling: bool) -> None:
        compute = statuses.rolled if rolling else statuses.counted
        status = compute(rollout.deployment, rollout.new, rollout.olds, self._clock.now())
        if status != rollout.deployment.get("status"):
            rollout.deployment = await self._update_status(rollout.deployment, status)

    async def _update_status(self, deployment: Object, status: Object) -> Object:
        return await self._client.update(
            kinds.DEPLOYMENTS, deployment | {"status": status}, subresource="status"
        )
