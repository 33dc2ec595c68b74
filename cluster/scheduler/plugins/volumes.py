"""VolumeBinding, as far as it refuses: claims that are missing or not bound, and bound volumes that are
not reachable from a node.

A claim of a class with WaitForFirstConsumer does not hold its pod back here: which node it gets is told to
the provisioner by an annotation, which the binding step writes (`bind_claims` in `scheduler`).
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.api.objects import Key, Object
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot
from cluster.scheduler.terms import NodeTest, node_selector

Lookup = Callable[[Key], Object | None]


class VolumeBinding:
    name = "VolumeBinding"
    _unbound = Refusal(name, ("pod has unbound immediate PersistentVolumeClaims",), resolvable=False)
    _elsewhere = Refusal(name, ("node(s) didn't match PersistentVolume's node affinity",), resolvable=False)

    def __init__(self, claims: Lookup, volumes: Lookup, classes: Lookup) -> None:
        self._claims, self._volumes, self._classes = claims, volumes, classes

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | Refusal | None:
        tests: list[NodeTest] = []
        for name in claim_names(pod):
            claim = self._claims(Key(pod.namespace, name))
            if claim is None:
                reason = f'persistentvolumeclaim "{name}" not found'
                return Refusal(self.name, (reason,), resolvable=False)
            if "deletionTimestamp" in claim["metadata"]:
                reason = f'persistentvolumeclaim "{name}" is being deleted'
                return Refusal(self.name, (reason,), resolvable=False)
            volume = claim["spec"].get("volumeName", "")
            if not volume:
                if not self.waits_for_consumer(claim):
                    return self._unbound
                continue
            bound = self._volumes(Key("", volume))
            required = ((bound or {}).get("spec", {}).get("nodeAffinity") or {}).get("required")
            if required is not None:
                tests.append(node_selector(required))
        if not tests:
            return None
        return lambda node: self._reach(tests, node)

    def waits_for_consumer(self, claim: Object) -> bool:
        found = self._classes(Key("", claim["spec"].get("storageClassName") or ""))
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _reach(self, tests: list[NodeTest], node: NodeInfo) -> Refusal | None:
        if all(test(node.labels, node.name) for test in tests):
            return None
        return self._elsewhere


def claim_names(pod: PodInfo) -> list[str]:
    """The claims a pod uses: named ones, and those made for its ephemeral volumes."""
    names = []
    for volume in pod.volumes:
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod.name}-{volume['name']}")
    return names
