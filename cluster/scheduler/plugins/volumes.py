"""What a pod's claims say about nodes.

VolumeBinding: claims that are missing or not bound, bound volumes that a node can't reach, and, for claims
that wait for their first consumer, whether a volume can be had for them on a node: one that exists, or one
that the class's provisioner will make. The binding step (`binding`) then takes what was found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cluster.api.nodeselectors import NodeTest, node_selector
from cluster.api.objects import Key, Object, key_of
from cluster.reconcile.volumes import (
    BIND_COMPLETED,
    NO_PROVISIONER,
    annotations_of,
    best_volume,
    class_of,
    is_meant_for,
    waits_for_consumer,
)
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

Lookup = Callable[[Key], Object | None]


class VolumeBinding:
    name = "VolumeBinding"
    _unbound = Refusal(name, ("pod has unbound immediate PersistentVolumeClaims",), resolvable=False)
    _elsewhere = Refusal(name, ("node(s) didn't match PersistentVolume's node affinity",), resolvable=False)
    _gone = Refusal(
        name, ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",), resolvable=False
    )
    _none_left = Refusal(
        name, ("node(s) didn't find available persistent volumes to bind",), resolvable=False
    )

    def __init__(
        self,
        claims: Lookup,
        volumes: Lookup,
        classes: Lookup,
        all_volumes: Callable[[], Iterable[Object]] = tuple,
    ) -> None:
        self.claims, self._volumes, self._classes = claims, volumes, classes
        self._all_volumes = all_volumes

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | Refusal | None:
        if not pod.volumes:
            return None
        tests: list[NodeTest] = []
        delayed: list[Object] = []
        for name in claim_names(pod):
            claim = self.claims(Key(pod.namespace, name))
            refusal = self._unusable(name, claim)
            if refusal is not None or claim is None:
                return refusal
            if is_bound(claim):
                bound = self._volumes(Key("", claim["spec"]["volumeName"]))
                if bound is None:
                    return self._gone
                required = (bound["spec"].get("nodeAffinity") or {}).get("required")
                if required is not None:
                    tests.append(node_selector(required))
            elif claim["spec"].get("volumeName") or not self.waits_for_consumer(claim):
                return self._unbound
            else:
                delayed.append(claim)
        if not tests and not delayed:
            return None
        free = self._free(delayed)
        return lambda node: self._reach(tests, delayed, free, node)

    def waits_for_consumer(self, claim: Object) -> bool:
        return waits_for_consumer(self._classes(Key("", class_of(claim))))

    def choose(self, claims: Sequence[Object], labels: Mapping[str, str], node: str) -> dict[Key, str] | None:
        """Existing volumes for delayed claims on a node; a claim that is left out is provisioned for. None
        where one of them can have no volume there."""
        return self._choose(claims, self._free(claims), labels, node)

    def _free(self, claims: Sequence[Object]) -> list[Object]:
        """The volumes that may still become one of the claims', wherever."""
        if not claims:
            return []
        return [
            volume
            for volume in self._all_volumes()
            if "claimRef" not in volume["spec"] or any(is_meant_for(volume, claim) for claim in claims)
        ]

    def _choose(
        self, claims: Sequence[Object], free: Sequence[Object], labels: Mapping[str, str], node: str
    ) -> dict[Key, str] | None:
        chosen: dict[Key, str] = {}
        taken: dict[str, None] = {}

        def reaches(volume: Object) -> bool:
            required = (volume["spec"].get("nodeAffinity") or {}).get("required")
            return volume["metadata"]["name"] not in taken and (
                required is None or node_selector(required)(labels, node)
            )

        for claim in claims:
            volume = best_volume(claim, free, reaches=reaches)
            if volume is not None:
                taken[volume["metadata"]["name"]] = None
                chosen[key_of(claim)] = volume["metadata"]["name"]
            elif not self._can_be_made(claim, labels):
                return None
        return chosen

    def _unusable(self, name: str, claim: Object | None) -> Refusal | None:
        if claim is None:
            return Refusal(self.name, (f'persistentvolumeclaim "{name}" not found',), resolvable=False)
        if "deletionTimestamp" in claim["metadata"]:
            return Refusal(self.name, (f'persistentvolumeclaim "{name}" is being deleted',), resolvable=False)
        if claim.get("status", {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName", "")
            reason = f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
            return Refusal(self.name, (reason,), resolvable=False)
        return None

    def _can_be_made(self, claim: Object, labels: Mapping[str, str]) -> bool:
        storage_class = self._classes(Key("", class_of(claim)))
        if storage_class is None or storage_class["provisioner"] == NO_PROVISIONER:
            return False
        topologies = storage_class.get("allowedTopologies") or ()
        return not topologies or any(
            all(labels.get(e["key"]) in e["values"] for e in term.get("matchLabelExpressions") or ())
            for term in topologies
        )

    def _reach(
        self, tests: list[NodeTest], delayed: list[Object], free: list[Object], node: NodeInfo
    ) -> Refusal | None:
        if not all(test(node.labels, node.name) for test in tests):
            return self._elsewhere
        if delayed and self._choose(delayed, free, node.labels, node.name) is None:
            return self._none_left
        return None


def is_bound(claim: Object) -> bool:
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def claim_names(pod: PodInfo) -> list[str]:
    """The claims a pod uses: named ones, and those made for its ephemeral volumes."""
    names = []
    for volume in pod.volumes:
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod.name}-{volume['name']}")
    return names
