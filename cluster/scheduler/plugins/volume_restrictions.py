"""VolumeRestrictions: volumes that one node, or the whole cluster, can give to one pod only.

A claim with ReadWriteOncePod belongs to one pod in the whole cluster. Four kinds of disks that a pod names
itself (not through a claim) can't be used twice on one node, unless all use them read-only where the kind
allows that.
"""

from __future__ import annotations

from typing import NamedTuple

from cluster.api.objects import Key
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.plugins.volumes import Lookup, claim_names
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot


class Disk(NamedTuple):
    kind: str
    names: tuple[str, ...]
    read_only: bool
    monitors: frozenset[str] = frozenset()
    """Of Ceph: the same names mean the same disk only where these overlap."""


_NAMING = {
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "iscsi": ("iqn",),
    "rbd": ("pool", "image"),
}
"""Kind of source → the fields that name its disk."""


class VolumeRestrictions:
    name = "VolumeRestrictions"
    _taken = Refusal(
        name,
        ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",),
    )
    _no_disk = Refusal(name, ("node(s) had no available disk",))

    def __init__(self, claims: Lookup) -> None:
        self._claims = claims

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | Refusal | None:
        if not pod.volumes:
            return None
        if self._is_claimed_alone(pod, snapshot):
            return lambda node: self._taken
        disks = _disks(pod)
        if not disks:
            return None
        return lambda node: self._no_disk if _conflicts(disks, node) else None

    def _is_claimed_alone(self, pod: PodInfo, snapshot: Snapshot) -> bool:
        """Another pod has a claim of this one that only one pod may have."""
        alone = [name for name in claim_names(pod) if self._is_for_one_pod(Key(pod.namespace, name))]
        return bool(alone) and any(
            name in claim_names(other)
            for node in snapshot.nodes.values()
            for other in node.pods.values()
            if other.volumes and other.namespace == pod.namespace
            for name in alone
        )

    def _is_for_one_pod(self, key: Key) -> bool:
        claim = self._claims(key)
        return claim is not None and "ReadWriteOncePod" in claim["spec"].get("accessModes", ())


def names_disks(pod: PodInfo) -> bool:
    """Whether the pod names disks itself that can't be used twice on a node."""
    return bool(_disks(pod))


def _disks(pod: PodInfo) -> list[Disk]:
    found = []
    for volume in pod.volumes:
        for kind, fields in _NAMING.items():
            source = volume.get(kind)
            if source is not None:
                names = tuple(source.get(field, "") for field in fields)
                monitors = frozenset(source.get("monitors") or ())
                found.append(Disk(kind, names, bool(source.get("readOnly")), monitors))
    return found


def _conflicts(disks: list[Disk], node: NodeInfo) -> bool:
    return any(
        _clash(own, other)
        for placed in node.pods.values()
        if placed.volumes
        for other in _disks(placed)
        for own in disks
    )


def _clash(own: Disk, other: Disk) -> bool:
    if own[:2] != other[:2] or (own.read_only and other.read_only and own.kind != "awsElasticBlockStore"):
        return False
    return own.kind != "rbd" or not own.monitors.isdisjoint(other.monitors)
