"""Binds claims to volumes, and says of each what became of it; lets volumes go whose claim is gone.

Both sides of a binding are written in the order of Kubernetes: the volume's claimRef, the volume's phase, the
claim's volumeName, the claim's phase; each step is made again where it is missing.

Divergence: a recycled volume is free again at once, there are no files to scrub; what makes a claim wait is
said when something changes, not again every 15 seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, cast

from cluster.api import kinds
from cluster.api.objects import Key, Object, key_of, timestamp
from cluster.controllers.volumes import plan
from cluster.controllers.volumes.plan import Reclaim, Said
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.volumes import (
    LEGACY_STORAGE_PROVISIONER,
    STORAGE_PROVISIONER,
    annotations_of,
    class_of,
)
from cluster.reconcile.world import World

NAME = "persistent-volume-binder"
COMPONENT = "persistentvolume-controller"
CONSUMER = "claim"


class Item(NamedTuple):
    """A claim, or a volume where the namespace is empty."""

    resource: str
    key: Key


def controller(world: World) -> Controller[Item]:
    queue: WorkQueue[Item] = WorkQueue(world.clock)
    of = world.informers.of
    claims, volumes = of(kinds.PERSISTENT_VOLUME_CLAIMS), of(kinds.PERSISTENT_VOLUMES)

    def on_claim(old: Object | None, new: Object | None, cause: str) -> None:
        claim = new or old
        assert claim is not None
        if new is not None:
            queue.add(Item("claim", key_of(claim)), cause)
        if name := claim["spec"].get("volumeName"):
            queue.add(Item("volume", Key("", name)), cause)

    def on_volume(old: Object | None, new: Object | None, cause: str) -> None:
        volume = new or old
        assert volume is not None
        if new is not None:
            queue.add(Item("volume", key_of(volume)), cause)
        if reference := volume["spec"].get("claimRef"):
            queue.add(Item("claim", Key(reference.get("namespace", ""), reference["name"])), cause)
        elif new is not None and new.get("status", {}).get("phase") == "Available":
            for claim in claims.list():
                if not claim["spec"].get("volumeName"):
                    queue.add(Item("claim", key_of(claim)), cause)

    return Controller(
        Binder(world),
        queue,
        watches=[(claims, on_claim), (volumes, on_volume), (of(kinds.STORAGE_CLASSES), _all(queue, world))],
        workers=1,
    )


def _all(queue: WorkQueue[Item], world: World) -> Handler:
    claims = world.informers.of(kinds.PERSISTENT_VOLUME_CLAIMS)

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for claim in claims.list():
            if not claim["spec"].get("volumeName"):
                queue.add(Item("claim", key_of(claim)), cause)

    return handler


class Binder:
    name = NAME

    def __init__(self, world: World) -> None:
        of = world.informers.of
        self._clock = world.clock
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(COMPONENT)
        self._claims = of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = of(kinds.PERSISTENT_VOLUMES)
        self._classes = of(kinds.STORAGE_CLASSES)
        self._pods = of(kinds.PODS)
        self._pods.add_index(CONSUMER, used_claims)

    async def reconcile(self, item: Item) -> float | None:
        if item.resource == "volume":
            volume = self._volumes.get(item.key)
            if volume is not None:
                await self._volume(volume)
            return None
        claim = self._claims.get(item.key)
        if claim is not None:
            await self._claim(claim)
        return None

    # --- claims

    async def _claim(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        step = plan.next_of_claim(
            claim,
            named=self._volumes.get(Key("", name)) if name else None,
            candidates=list(self._volumes.list()) if not name else (),
            storage_class=self._classes.get(Key("", class_of(claim))),
            consumer=self._consumer(claim),
        )
        volume = step.volume
        if volume is not None:
            volume = await self._bind_volume(volume, claim)
            claim = await self._update(claim, plan.bound_claim(claim, volume))
        if step.provisioner:
            claim = await self._ask(claim, step.provisioner)
        changed = await self._claim_status(claim, plan.claim_status(claim, step.phase, volume))
        if step.said is not None and (changed or step.phase == "Pending"):
            self._record(claim, step.said)

    async def _bind_volume(self, volume: Object, claim: Object) -> Object:
        volume = await self._update_volume(volume, plan.bound_volume(volume, claim))
        return await self._volume_phase(volume, "Bound")

    async def _ask(self, claim: Object, provisioner: str) -> Object:
        """The annotations that tell a provisioner that its work is wanted."""
        wanted = {STORAGE_PROVISIONER: provisioner, LEGACY_STORAGE_PROVISIONER: provisioner}
        annotations = annotations_of(claim)
        if wanted.items() <= annotations.items():
            return claim
        meta = claim["metadata"] | {"annotations": annotations | wanted}
        return await self._update(claim, claim | {"metadata": meta})

    def _consumer(self, claim: Object) -> str:
        """A pod that uses the claim and has no node yet."""
        meta = claim["metadata"]
        for pod in self._pods.by_index(CONSUMER, f"{meta['namespace']}/{meta['name']}"):
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                name: str = pod["metadata"]["name"]
                return name
        return ""

    async def _update(self, claim: Object, wanted: Object) -> Object:
        if wanted is claim:
            return claim
        return await self._client.update(kinds.PERSISTENT_VOLUME_CLAIMS, wanted)

    async def _claim_status(self, claim: Object, status: Mapping[str, object]) -> bool:
        if status == (claim.get("status") or {}):
            return False
        body = claim | {"status": dict(status)}
        await self._client.update(kinds.PERSISTENT_VOLUME_CLAIMS, body, subresource="status")
        return True

    # --- volumes

    async def _volume(self, volume: Object) -> None:
        phase, reclaim = plan.next_of_volume(volume, self._claim_of(volume))
        if reclaim is Reclaim.UNBIND or (reclaim is Reclaim.RECYCLE and phase == "Released"):
            if reclaim is Reclaim.RECYCLE:
                volume = await self._volume_phase(volume, "Released")
                self._record(volume, Said("Normal", "VolumeRecycled", "Volume recycled"))
            volume = await self._update_volume(volume, plan.unbound_volume(volume))
            phase = "Available"
        before = volume.get("status", {}).get("phase")
        volume = await self._volume_phase(volume, phase)
        if reclaim is Reclaim.FAIL and before != phase:
            text = (
                f'error getting deleter volume plugin for volume "{volume["metadata"]["name"]}": '
                "no deletable volume plugin matched"
            )
            self._record(volume, Said("Warning", "VolumeFailedDelete", text))

    def _claim_of(self, volume: Object) -> Object | None:
        reference = volume["spec"].get("claimRef")
        if reference is None:
            return None
        claim = self._claims.get(Key(reference.get("namespace", ""), reference["name"]))
        return claim if claim is not None and claim["metadata"]["uid"] == reference.get("uid") else None

    async def _update_volume(self, volume: Object, wanted: Object) -> Object:
        if wanted is volume:
            return volume
        return await self._client.update(kinds.PERSISTENT_VOLUMES, wanted)

    async def _volume_phase(self, volume: Object, phase: str) -> Object:
        if volume.get("status", {}).get("phase") == phase:
            return volume
        moved = {"phase": phase, "lastPhaseTransitionTime": timestamp(self._clock.now())}
        body = volume | {"status": {**(volume.get("status") or {}), **moved}}
        return await self._client.update(kinds.PERSISTENT_VOLUMES, body, subresource="status")

    def _record(self, obj: Object, said: Said) -> None:
        type = cast("Literal['Normal', 'Warning']", said.type)
        self._recorder.event(obj, type, said.reason, said.message)


def used_claims(pod: Object) -> Iterable[str]:
    """Index function: namespace/name of the claims that a pod uses."""
    meta = pod["metadata"]
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield f"{meta['namespace']}/{volume['persistentVolumeClaim']['claimName']}"
        elif "ephemeral" in volume:
            yield f"{meta['namespace']}/{meta['name']}-{volume['name']}"
