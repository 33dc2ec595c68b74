"""NodeVolumeLimits: a node can have only so many volumes of one CSI driver attached.

The limits are what drivers told in the node's CSINode. Counted are the volumes of the pods on the node, each
once however many pods share it, and what VolumeAttachments say is attached there beside them. A driver can
ask (CSIDriver.spec.preventPodSchedulingIfMissing) for its pods to be kept off nodes that do not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cluster.api.objects import Key, Object
from cluster.reconcile.volumes import class_of
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.plugins.volumes import Lookup, claim_names
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

Handle = tuple[str, str]
"""(driver, what names the volume there)."""


class NodeVolumeLimits:
    name = "NodeVolumeLimits"
    _exceeded = Refusal(name, ("node(s) exceed max volume count",))

    def __init__(
        self,
        claims: Lookup,
        volumes: Lookup,
        classes: Lookup,
        csi_nodes: Lookup,
        drivers: Lookup,
        attachments: Callable[[str], Iterable[Object]],
    ) -> None:
        """`attachments(node)`: the VolumeAttachments of a node."""
        self._claims, self._volumes, self._classes = claims, volumes, classes
        self._csi_nodes, self._drivers, self._attachments = csi_nodes, drivers, attachments

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not pod.volumes:
            return None
        wanted = self._handles(pod)
        if not wanted:
            return None
        needed = [
            driver for driver in dict.fromkeys(driver for driver, _ in wanted) if self._must_be_there(driver)
        ]

        def check(node: NodeInfo) -> Refusal | None:
            installed = self._installed(node.name)
            for driver in needed:
                if driver not in installed:
                    return Refusal(self.name, (f"{driver} CSI driver is not installed on the node",))
            return self._exceeded if self._is_too_much(wanted, node, installed) else None

        return check

    def _must_be_there(self, driver: str) -> bool:
        found = self._drivers(Key("", driver))
        return found is not None and bool(found["spec"].get("preventPodSchedulingIfMissing"))

    def _is_too_much(
        self, wanted: dict[Handle, None], node: NodeInfo, installed: dict[str, int | None]
    ) -> bool:
        limits = {driver: count for driver, count in installed.items() if count is not None}
        if not any(driver in limits for driver, _ in wanted):
            return False
        present: dict[Handle, None] = {}
        for placed in node.pods.values():
            if placed.volumes:
                present.update(self._handles(placed))
        for attachment in self._attachments(node.name):
            present.update(self._attached(attachment))
        for driver, limit in limits.items():
            new = sum(handle[0] == driver and handle not in present for handle in wanted)
            if new and new + sum(handle[0] == driver for handle in present) > limit:
                return True
        return False

    def _installed(self, node: str) -> dict[str, int | None]:
        """How many volumes each of a node's drivers can attach; None where it does not say."""
        found = self._csi_nodes(Key("", node))
        drivers = found["spec"].get("drivers") or () if found is not None else ()
        return {driver["name"]: (driver.get("allocatable") or {}).get("count") for driver in drivers}

    def _handles(self, pod: PodInfo) -> dict[Handle, None]:
        found: dict[Handle, None] = {}
        for name in claim_names(pod):
            claim = self._claims(Key(pod.namespace, name))
            if claim is None:
                continue
            bound = self._volumes(Key("", claim["spec"].get("volumeName") or ""))
            if bound is not None:
                found.update(_of_volume(bound))
                continue
            storage_class = self._classes(Key("", class_of(claim)))
            if storage_class is not None:
                found[storage_class["provisioner"], f"{pod.namespace}/{name}"] = None
        return found

    def _attached(self, attachment: Object) -> dict[Handle, None]:
        name = attachment["spec"]["source"].get("persistentVolumeName")
        volume = self._volumes(Key("", name)) if name else None
        return _of_volume(volume) if volume is not None else {}


def _of_volume(volume: Object) -> dict[Handle, None]:
    source = volume["spec"].get("csi")
    return {(source["driver"], source["volumeHandle"]): None} if source else {}
