"""Makes the claims of generic ephemeral volumes: `<pod>-<volume>`, owned by the pod."""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, ApiError
from cluster.api.objects import Key, Object, key_of, owner_reference
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "ephemeral-volume-controller"
COMPONENT = "ephemeral_volume"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)

    def on_pod(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None and new is not None and any(map(_is_ephemeral, new["spec"].get("volumes") or ())):
            queue.add(key_of(new), cause)

    return Controller(
        EphemeralVolumes(world),
        queue,
        watches=[(world.informers.of(kinds.PODS), on_pod)],
        needs=[world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)],
        workers=1,
    )


def _is_ephemeral(volume: Object) -> bool:
    return "ephemeral" in volume


class EphemeralVolumes:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(COMPONENT)
        self._pods = world.informers.of(kinds.PODS)
        self._claims = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return None
        for volume in filter(_is_ephemeral, pod["spec"].get("volumes") or ()):
            await self._provide(pod, volume)
        return None

    async def _provide(self, pod: Object, volume: Object) -> None:
        claim = claim_for(pod, volume)
        present = self._claims.get(key_of(claim))
        if present is not None:
            owners = present["metadata"].get("ownerReferences") or ()
            if not any(owner["uid"] == pod["metadata"]["uid"] for owner in owners):
                text = f'PVC "{key_of(claim)}" was not created for the pod'
                self._recorder.event(pod, "Warning", "EphemeralVolumeClaimFailed", text)
            return
        try:
            await self._client.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim)
        except AlreadyExists:
            return
        except ApiError as error:
            self._recorder.event(
                pod, "Warning", "ProvisioningFailed", f"ephemeral volume creation failed: {error.message}"
            )
            raise


def claim_for(pod: Object, volume: Object) -> Object:
    template, meta = volume["ephemeral"]["volumeClaimTemplate"], pod["metadata"]
    given = template.get("metadata") or {}
    made: Object = {
        "name": f"{meta['name']}-{volume['name']}",
        "namespace": meta["namespace"],
        "ownerReferences": [owner_reference(pod)],
    }
    made |= {part: dict(given[part]) for part in ("labels", "annotations") if given.get(part)}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": made,
        "spec": dict(template["spec"]),
    }
