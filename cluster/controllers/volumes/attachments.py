"""Attaches CSI volumes to the nodes whose pods use them, and detaches them when no pod does.

One VolumeAttachment for each volume and node. A volume that only one node may have goes to the next node
when the former lets go; until then the pod is told why it waits. For the emulated driver `attacher` answers;
other drivers bring their own. What is attached stands in the node's status too, as does what its pods use.

Divergence: `volumesInUse` is written here and not by the node; a pod does not wait on its node for its
volume; a volume is let go as soon as the last pod is gone, whether or not the node has been heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import AlreadyExists, NotFound
from cluster.api.objects import Key, Object, key_of
from cluster.controllers.volumes.binder import CONSUMER, used_claims
from cluster.reconcile.loop import Controller
from cluster.reconcile.pods import is_finished
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "attachdetach-controller"
IDENTITY = "attachdetach-controller"
BY_VOLUME, BY_NODE = "volume", "node"
SHARED = ("ReadWriteMany", "ReadOnlyMany")
DETACH_LOOK_S = 60.0
"""How often a pod that waits for a volume's former node is told so."""


class Item(NamedTuple):
    """A volume whose attachments are to be right, or a node whose status is."""

    what: str
    name: str


class Plan(NamedTuple):
    attach: Sequence[str]
    """Nodes to attach to."""
    detach: Sequence[Object]
    """VolumeAttachments to delete."""
    refused: Sequence[str]
    """Nodes that wait for another one to let go."""


def plan(volume: Object, users: Mapping[str, Sequence[Object]], attachments: Iterable[Object]) -> Plan:
    """`users`: node → the pods there that use the volume. Attachments that somebody else made stay."""
    present = list(attachments)
    detach = [
        each
        for each in present
        if each["spec"]["nodeName"] not in users
        and "deletionTimestamp" not in each["metadata"]
        and each["metadata"]["name"] == attachment(volume, each["spec"]["nodeName"])["metadata"]["name"]
    ]
    held = [each["spec"]["nodeName"] for each in present]
    missing = [node for node in users if node not in held]
    if any(mode in SHARED for mode in volume["spec"].get("accessModes") or ()):
        return Plan(missing, detach, ())
    free = 0 if held else 1
    return Plan(missing[:free], detach, missing[free:])


def attachment_name(driver: str, handle: str, node: str) -> str:
    return f"csi-{sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def attachment(volume: Object, node: str) -> Object:
    source, name = volume["spec"]["csi"], volume["metadata"]["name"]
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": attachment_name(source["driver"], source["volumeHandle"], node)},
        "spec": {"attacher": source["driver"], "nodeName": node, "source": {"persistentVolumeName": name}},
    }


def unique_name(volume: Object) -> str:
    source = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{source['driver']}^{source['volumeHandle']}"


def multi_attach(volume: Object, pod: Object, others: Sequence[Object]) -> str:
    """Why a pod waits. `others`: the pods on other nodes that use the volume."""
    text = f'Multi-Attach error for volume "{volume["metadata"]["name"]}" '
    near = [o for o in others if o["metadata"]["namespace"] == pod["metadata"]["namespace"]]
    if not others:
        return text + "Volume is already exclusively attached to one node and can't be attached to another"
    if not near:
        return text + f"Volume is already used by {len(others)} pod(s) in different namespaces"
    names = ", ".join(sorted(o["metadata"]["name"] for o in near))
    if len(near) < len(others):
        return text + (
            f"Volume is already used by pod(s) {names} and {len(others) - len(near)} pod(s) "
            "in different namespaces"
        )
    return text + f"Volume is already used by pod(s) {names}"


def controller(world: World) -> Controller[Item]:
    queue: WorkQueue[Item] = WorkQueue(world.clock)
    of = world.informers.of
    claims, volumes, attached = (
        of(kinds.PERSISTENT_VOLUME_CLAIMS),
        of(kinds.PERSISTENT_VOLUMES),
        of(kinds.VOLUME_ATTACHMENTS),
    )
    attached.add_index(BY_VOLUME, _volume_names)
    attached.add_index(BY_NODE, lambda each: (each["spec"]["nodeName"],))

    def on_pod(old: Object | None, new: Object | None, cause: str) -> None:
        pod = new or old or {}
        if not pod["spec"].get("volumes") or not pod["spec"].get("nodeName"):
            return
        if old is None or new is None or old["spec"] != new["spec"] or is_finished(old) != is_finished(new):
            for used in used_claims(pod):
                namespace, _, name = used.partition("/")
                claim = claims.get(Key(namespace, name))
                if claim is not None and claim["spec"].get("volumeName"):
                    queue.add(Item("volume", claim["spec"]["volumeName"]), cause)

    def on_claim(old: Object | None, new: Object | None, cause: str) -> None:
        names = [claim["spec"].get("volumeName") for claim in (old, new) if claim is not None]
        if len(names) == 1 or names[0] != names[1]:
            for name in filter(None, names):
                queue.add(Item("volume", name), cause)

    def on_volume(old: Object | None, new: Object | None, cause: str) -> None:
        if "csi" in (new or old or {})["spec"]:
            queue.add(Item("volume", (new or old or {})["metadata"]["name"]), cause)

    def on_attachment(old: Object | None, new: Object | None, cause: str) -> None:
        found = new or old or {}
        if old is not None and new is not None and _is_attached(new) and not _is_attached(old):
            reconciler.say_attached(new)
        queue.add(Item("node", found["spec"]["nodeName"]), cause)
        for name in _volume_names(found):
            queue.add(Item("volume", name), cause)

    watches = [
        (claims, on_claim),
        (volumes, on_volume),
        (attached, on_attachment),
        (of(kinds.PODS), on_pod),
    ]
    needs = [of(kinds.CSI_DRIVERS), of(kinds.NODES)]
    reconciler = Attachments(world, queue)
    return Controller(reconciler, queue, watches=watches, needs=needs, workers=2)


def _volume_names(attachment: Object) -> Iterable[str]:
    name = attachment["spec"]["source"].get("persistentVolumeName")
    return (name,) if name else ()


class Attachments:
    name = NAME

    def __init__(self, world: World, queue: WorkQueue[Item]) -> None:
        of = world.informers.of
        self._queue = queue
        self._client = world.client_as(IDENTITY)
        self._recorder = world.recorder(NAME)
        self._pods = of(kinds.PODS)
        self._pods.add_index(CONSUMER, used_claims)
        self._nodes = of(kinds.NODES)
        self._claims = of(kinds.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = of(kinds.PERSISTENT_VOLUMES)
        self._drivers = of(kinds.CSI_DRIVERS)
        self._attached = of(kinds.VOLUME_ATTACHMENTS)

    async def reconcile(self, item: Item) -> float | None:
        if item.what == "node":
            await self._node(item.name)
            return None
        volume = self._volumes.get(Key("", item.name))
        present = list(self._attached.by_index(BY_VOLUME, item.name))
        if volume is None or "csi" not in volume["spec"]:
            return None
        users = self._users(volume) if self._needs_attaching(volume) else {}
        for node in users:
            self._queue.add(Item("node", node))
        found = plan(volume, users, present)
        for each in found.detach:
            await self._detach(each)
        for node in found.attach:
            await self._attach(volume, node)
        for node in found.refused:
            self._say_refused(volume, node, users)
        return DETACH_LOOK_S if found.refused else None

    def _needs_attaching(self, volume: Object) -> bool:
        driver = self._drivers.get(Key("", volume["spec"]["csi"]["driver"]))
        return driver is None or driver["spec"].get("attachRequired", True)

    def _users(self, volume: Object) -> dict[str, list[Object]]:
        """The pods that use the volume, by node."""
        reference = volume["spec"].get("claimRef")
        users: dict[str, list[Object]] = {}
        if reference is None:
            return users
        key = Key(reference.get("namespace", ""), reference["name"])
        claim = self._claims.get(key)
        if claim is None or claim["spec"].get("volumeName") != volume["metadata"]["name"]:
            return users
        for pod in self._pods.by_index(CONSUMER, f"{key.namespace}/{key.name}"):
            node = pod["spec"].get("nodeName")
            if node and not is_finished(pod) and self._nodes.get(Key("", node)) is not None:
                users.setdefault(node, []).append(pod)
        return users

    async def _attach(self, volume: Object, node: str) -> None:
        try:
            await self._client.create(kinds.VOLUME_ATTACHMENTS, attachment(volume, node))
        except AlreadyExists:
            return

    async def _detach(self, found: Object) -> None:
        try:
            await self._client.delete(
                kinds.VOLUME_ATTACHMENTS, found["metadata"]["name"], uid=found["metadata"]["uid"]
            )
        except NotFound:
            return

    def say_attached(self, found: Object) -> None:
        """Tells the pods that waited for a volume that it is there now."""
        for name in _volume_names(found):
            volume = self._volumes.get(Key("", name))
            users = self._users(volume) if volume is not None else {}
            for pod in users.get(found["spec"]["nodeName"], ()):
                text = f'AttachVolume.Attach succeeded for volume "{name}" '
                self._recorder.event(pod, "Normal", "SuccessfulAttachVolume", text)

    def _say_refused(self, volume: Object, node: str, users: Mapping[str, Sequence[Object]]) -> None:
        others = [pod for other, pods in users.items() if other != node for pod in pods]
        for pod in users[node]:
            text = multi_attach(volume, pod, others)
            self._recorder.event(pod, "Warning", "FailedAttachVolume", text)

    # --- the node's status

    async def _node(self, name: str) -> None:
        node = self._nodes.get(Key("", name))
        if node is None:
            return
        here = sorted(self._attached.by_index(BY_NODE, name), key=lambda each: str(key_of(each)))
        volumes = [(each, self._volumes.get(Key("", v))) for each in here for v in _volume_names(each)]
        attached = [
            {"name": unique_name(volume), "devicePath": ""}
            for each, volume in volumes
            if volume is not None and "csi" in volume["spec"] and _is_attached(each)
        ]
        in_use = [
            unique_name(volume)
            for _, volume in volumes
            if volume is not None and "csi" in volume["spec"] and name in self._users(volume)
        ]
        status = node.get("status", {})
        if (status.get("volumesAttached") or [], status.get("volumesInUse") or []) == (attached, in_use):
            return
        patch = {"status": {"volumesAttached": attached or None, "volumesInUse": in_use or None}}
        try:
            await self._client.patch(kinds.NODES, name, patch, kind=PatchType.MERGE, subresource="status")
        except NotFound:
            return


def _is_attached(found: Object) -> bool:
    return bool(found.get("status", {}).get("attached"))
