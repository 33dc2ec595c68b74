"""Nodes and pods for scheduler tests, in few words."""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object, key_of
from cluster.api.resource import Resource
from cluster.api.selectors import LabelSelector
from cluster.scheduler.configuration import ProfileSettings
from cluster.scheduler.decision import Decision
from cluster.scheduler.placement import schedule_one
from cluster.scheduler.plugins.volumes import Lookup
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.profile import Objects, Profile, profile_of
from cluster.scheduler.snapshot import Snapshot

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def node(
    name: str, *, cpu: str = "4", zone: str = "", taints: Any = (), pods: str = "110", **labels: str
) -> Object:
    found = {HOST: name, **labels}
    if zone:
        found[ZONE] = zone
    return {
        "metadata": {"name": name, "labels": found},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": pods}},
    }


def pod(name: str, *, cpu: str = "", on: str = "", labels: Any = None, **spec: Any) -> PodInfo:
    container: Object = {"name": "c", "image": "nginx"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    body: Object = {"containers": [container], **spec}
    if on:
        body["nodeName"] = on
    meta = {"name": name, "namespace": "default", "uid": name, "labels": labels or {}}
    return PodInfo({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})


class Scene:
    def __init__(self, *nodes: Object, group: LabelSelector | None = None) -> None:
        self.snapshot = Snapshot(lambda namespace: {})
        self.group = group
        self.objects: dict[str, dict[str, Object]] = {}
        """Qualified resource → "namespace/name" → object, for what plugins look up."""
        self.profile = self.of(ProfileSettings())
        for found in nodes:
            self.snapshot.set_node(found)

    def of(self, settings: ProfileSettings) -> Profile:
        return profile_of(settings, Objects(of=self._lookup, default_selector=lambda pod: self.group))

    def _lookup(self, resource: Resource) -> Lookup:
        return lambda key: self.objects.get(resource.qualified, {}).get(str(key))

    def having(self, resource: Resource, *objects: Object) -> Scene:
        """Adds objects that plugins look up."""
        known = self.objects.setdefault(resource.qualified, {})
        known.update((str(key_of(found)), found) for found in objects)
        return self

    def placed(self, *pods: PodInfo) -> Scene:
        for found in pods:
            self.snapshot.put(found)
        return self

    def schedule(self, wanted: PodInfo, *, explain: bool = False) -> Decision:
        return schedule_one(wanted, self.snapshot, self.profile, explain=explain)

    def place(self, *pods: PodInfo) -> list[str]:
        """Places one after the other; where each went."""
        found = []
        for wanted in pods:
            node = self.schedule(wanted).node
            if node:
                self.snapshot.assume(wanted, node, 0.0)
            found.append(node)
        return found
