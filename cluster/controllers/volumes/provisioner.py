"""The emulated provisioner: makes a volume for a claim of its class, and deletes it when it is let go.

It is the "external provisioner" that Kubernetes' binding controller waits for: it is asked by an annotation
on the claim, for classes with WaitForFirstConsumer only once the scheduler has named a node there.

A volume can be reached from every node, as network storage can; with the class parameter `local: "true"`
only from the node that was selected, as a disk of that machine; with `csi: "true"` it is a volume of the CSI
driver `emulated.kubemu.dev`, which has to be attached to a node first (`attachments`).
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.errors import AlreadyExists, NotFound
from cluster.api.objects import Key, Object, key_of
from cluster.controllers.volumes.binder import Item
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.volumes import (
    BIND_COMPLETED,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    annotations_of,
    claim_reference,
    class_of,
    storage_of,
    waits_for_consumer,
)
from cluster.reconcile.world import World

NAME = "emulated-provisioner"
PROVISIONER = "kubemu.dev/emulated"
"""The name that storage classes give in `provisioner`."""
DRIVER = "emulated.kubemu.dev"
"""The CSI driver's name."""
DIRECTORY = "/var/lib/kubemu/volumes"
LOCAL, CSI = "local", "csi"
"""Parameters of a class."""


def controller(world: World) -> Controller[Item]:
    queue: WorkQueue[Item] = WorkQueue(world.clock)
    of = world.informers.of
    claims, volumes = of(kinds.PERSISTENT_VOLUME_CLAIMS), of(kinds.PERSISTENT_VOLUMES)

    def on_claim(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None and _asks_us(new):
            queue.add(Item("claim", key_of(new)), cause)

    def on_volume(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None and _is_ours_to_delete(new):
            queue.add(Item("volume", key_of(new)), cause)

    return Controller(
        Provisioner(world),
        queue,
        watches=[(claims, on_claim), (volumes, on_volume)],
        needs=[of(kinds.STORAGE_CLASSES), of(kinds.NODES)],
        workers=2,
    )


def _asks_us(claim: Object) -> bool:
    annotations = annotations_of(claim)
    return (
        annotations.get(STORAGE_PROVISIONER) == PROVISIONER
        and BIND_COMPLETED not in annotations
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
    )


def _is_ours_to_delete(volume: Object) -> bool:
    return (
        annotations_of(volume).get(PROVISIONED_BY) == PROVISIONER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") == "Released"
        and "deletionTimestamp" not in volume["metadata"]
    )


def new_volume(claim: Object, storage_class: Object, node: Object | None) -> Object:
    """The volume for a claim. `node`: the one that the scheduler selected."""
    name = f"pvc-{claim['metadata']['uid']}"
    spec: Object = {
        "accessModes": list(claim["spec"]["accessModes"]),
        "capacity": {"storage": storage_of(claim)},
        "claimRef": claim_reference(claim),
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
    }
    parameters = storage_class.get("parameters") or {}
    if parameters.get(CSI) == "true":
        spec["csi"] = {"driver": DRIVER, "volumeHandle": name, "fsType": "ext4"}
    else:
        spec["hostPath"] = {"path": f"{DIRECTORY}/{name}", "type": "DirectoryOrCreate"}
    if storage_class.get("mountOptions"):
        spec["mountOptions"] = list(storage_class["mountOptions"])
    if node is not None and parameters.get(LOCAL) == "true":
        labels = node["metadata"].get("labels") or {}
        host = labels.get("kubernetes.io/hostname", node["metadata"]["name"])
        wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}}
    annotations = {PROVISIONED_BY: PROVISIONER}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


class Provisioner:
    name = NAME

    def __init__(self, world: World) -> None:
        of = world.informers.of
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(PROVISIONER)
        self._claims = of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = of(kinds.PERSISTENT_VOLUMES)
        self._classes = of(kinds.STORAGE_CLASSES)
        self._nodes = of(kinds.NODES)

    async def reconcile(self, item: Item) -> float | None:
        if item.resource == "volume":
            volume = self._volumes.get(item.key)
            if volume is not None and _is_ours_to_delete(volume):
                await self._delete(volume)
            return None
        claim = self._claims.get(item.key)
        if claim is not None and _asks_us(claim):
            await self._provide(claim)
        return None

    async def _provide(self, claim: Object) -> None:
        storage_class = self._classes.get(Key("", class_of(claim)))
        selected = annotations_of(claim).get(SELECTED_NODE, "")
        if storage_class is None or (waits_for_consumer(storage_class) and not selected):
            return
        volume = new_volume(claim, storage_class, self._nodes.get(Key("", selected)))
        name = volume["metadata"]["name"]
        if self._volumes.get(Key("", name)) is not None:
            return
        about = f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        self._recorder.event(claim, "Normal", "Provisioning", about)
        try:
            await self._client.create(kinds.PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return
        text = f"Successfully provisioned volume {name}"
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", text)

    async def _delete(self, volume: Object) -> None:
        meta = volume["metadata"]
        try:
            await self._client.delete(kinds.PERSISTENT_VOLUMES, meta["name"], uid=meta["uid"])
        except NotFound:
            return
