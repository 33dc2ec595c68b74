"""Claims that a pod uses and volumes that are bound stay until they are let go, whoever deletes them.

Admission puts a finalizer on each; here it is taken off once the object is being deleted and out of use. A
pod that has no node yet doesn't count: it can't start with a claim that is being deleted.

The same controller notes on each bound claim whether a pod refers to it (condition Unused); there a pod
without a node counts.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.client import ApiClient, PatchType
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, condition_of, key_of, timestamp
from cluster.api.resource import Resource
from cluster.controllers.volumes.binder import CONSUMER, used_claims
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import is_finished
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

CLAIMS = "persistentvolumeclaim-protection-controller"
VOLUMES = "persistentvolume-protection-controller"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
UNUSED = "Unused"


def claim_controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    claims, pods = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS), world.informers.of(kinds.PODS)

    def on_pod(old: Object | None, new: Object | None, cause: str) -> None:
        pod = old if new is None else new
        assert pod is not None
        if pod["spec"].get("volumes") and (old is None or new is None or is_finished(new)):
            for used in used_claims(pod):
                namespace, _, name = used.partition("/")
                queue.add(Key(namespace, name), cause)

    return Controller(
        ClaimProtection(world), queue, watches=[(claims, enqueue(queue)), (pods, on_pod)], workers=1
    )


def volume_controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    volumes = world.informers.of(kinds.PERSISTENT_VOLUMES)
    return Controller(VolumeProtection(world), queue, watches=[(volumes, enqueue(queue))], workers=1)


def unused(idle: bool, now: str) -> Object:
    """The condition that says since when no pod refers to a claim, or that one does."""
    status, reason, message = (
        ("True", "NoPodsUsingPVC", "No pods are currently referencing this PVC")
        if idle
        else ("False", "PodUsingPVC", "A pod is currently referencing this PVC")
    )
    return {
        "type": UNUSED,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


class ClaimProtection:
    name = CLAIMS

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._client = world.client_as("pvc-protection-controller")
        self._claims = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._pods = world.informers.of(kinds.PODS)
        self._pods.add_index(CONSUMER, used_claims)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            return None
        if _is_held(claim, CLAIM_FINALIZER) and not self._is_used(key):
            await _let_go(self._client, kinds.PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER)
        elif "deletionTimestamp" not in claim["metadata"]:
            await self._note_use(claim)
        return None

    async def _note_use(self, claim: Object) -> None:
        status = claim.get("status") or {}
        if status.get("phase") != "Bound":
            return
        users = self._pods.by_index(CONSUMER, str(key_of(claim)))
        wanted = unused(all(map(is_finished, users)), timestamp(self._clock.now()))
        present = condition_of(claim, UNUSED)
        if present is not None and present["status"] == wanted["status"]:
            return
        others = [each for each in status.get("conditions") or () if each["type"] != UNUSED]
        body = claim | {"status": status | {"conditions": [*others, wanted]}}
        await self._client.update(kinds.PERSISTENT_VOLUME_CLAIMS, body, subresource="status")

    def _is_used(self, key: Key) -> bool:
        return any(
            pod["spec"].get("nodeName") and not is_finished(pod)
            for pod in self._pods.by_index(CONSUMER, f"{key.namespace}/{key.name}")
        )


class VolumeProtection:
    name = VOLUMES

    def __init__(self, world: World) -> None:
        self._client = world.client_as("pv-protection-controller")
        self._volumes = world.informers.of(kinds.PERSISTENT_VOLUMES)

    async def reconcile(self, key: Key) -> float | None:
        volume = self._volumes.get(key)
        if volume is None or not _is_held(volume, VOLUME_FINALIZER):
            return None
        if volume.get("status", {}).get("phase") != "Bound":
            await _let_go(self._client, kinds.PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER)
        return None


def _is_held(obj: Object, finalizer: str) -> bool:
    """Being deleted, and only our finalizer's turn is left to come."""
    meta = obj["metadata"]
    return "deletionTimestamp" in meta and finalizer in (meta.get("finalizers") or ())


async def _let_go(client: ApiClient, resource: Resource, obj: Object, finalizer: str) -> None:
    key, uid = key_of(obj), obj["metadata"]["uid"]
    patch = {"metadata": {"uid": uid, "$deleteFromPrimitiveList/finalizers": [finalizer]}}
    try:
        await client.patch(resource, key.name, patch, namespace=key.namespace, kind=PatchType.STRATEGIC)
    except NotFound:
        return
