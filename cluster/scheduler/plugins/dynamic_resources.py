"""DynamicResources: pods whose ResourceClaims are not allocated wait, and are told for what.

Divergence: no devices are allocated here, and no claims are made from templates: a pod can use only claims
that somebody else (a driver of yours) makes and allocates; they are not reserved for the pod.
"""

from __future__ import annotations

from cluster.api.nodeselectors import NodeTest, node_selector
from cluster.api.objects import Key, Object
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.plugins.volumes import Lookup
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

CONSUMERS = 256
"""Pods that can share one allocated claim."""
NOTHING_TO_FREE = "no new claims to deallocate"
STILL_NOT = "still not schedulable"


class DynamicResources:
    name = "DynamicResources"
    _unallocated = Refusal(name, ("cannot allocate all claims",), resolvable=False)
    _elsewhere = Refusal(name, ("resourceclaim not available on the node",), resolvable=False)

    def __init__(self, claims: Lookup, classes: Lookup) -> None:
        """Of ResourceClaims and DeviceClasses."""
        self._claims, self._classes = claims, classes

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | Refusal | None:
        wanted = pod.object["spec"].get("resourceClaims")
        if not wanted:
            return None
        tests: list[NodeTest] = []
        allocated = True
        for reference in wanted:
            name = _name_of(pod, reference)
            if name is None:
                return self._refuse(f'pod "{pod.key}": ResourceClaim not created yet')
            if not name:
                continue
            claim = self._claims(Key(pod.namespace, name))
            if claim is None:
                return self._refuse(f'resourceclaim.resource.k8s.io "{name}" not found')
            if "deletionTimestamp" in claim["metadata"]:
                return self._refuse(f'resourceclaim "{name}" is being deleted')
            allocation = claim.get("status", {}).get("allocation")
            if allocation is None:
                if missing := self._missing_class(claim):
                    return missing
                allocated = False
            elif not _has_room(claim, pod):
                return self._refuse("resourceclaim in use")
            elif selector := allocation.get("nodeSelector"):
                tests.append(node_selector(selector))
        if not allocated:
            return lambda node: self._unallocated

        def check(node: NodeInfo) -> Refusal | None:
            return None if all(test(node.labels, node.name) for test in tests) else self._elsewhere

        return check if tests else None

    def _missing_class(self, claim: Object) -> Refusal | None:
        for request in (claim["spec"].get("devices") or {}).get("requests") or ():
            whole = request.get("exactly") or request
            choices = [(request["name"], whole)] if "deviceClassName" in whole else []
            choices += [
                (f"{request['name']}/{sub['name']}", sub) for sub in request.get("firstAvailable") or ()
            ]
            for name, choice in choices:
                if self._classes(Key("", choice["deviceClassName"])) is None:
                    return self._refuse(
                        f"request {name}: device class {choice['deviceClassName']} does not exist"
                    )
        return None

    def _refuse(self, reason: str) -> Refusal:
        return Refusal(self.name, (reason,), resolvable=False)


def outlook(pod: PodInfo) -> str:
    """What the search for claims to free comes to, for a pod with claims that fits nowhere."""
    wanted = pod.object["spec"].get("resourceClaims")
    if not wanted:
        return ""
    return STILL_NOT if any(_name_of(pod, reference) for reference in wanted) else NOTHING_TO_FREE


def _name_of(pod: PodInfo, reference: Object) -> str | None:
    """The claim of this entry of the pod's; empty where none is needed, None where it isn't made yet."""
    if name := reference.get("resourceClaimName"):
        return str(name)
    for made in pod.object.get("status", {}).get("resourceClaimStatuses") or ():
        if made["name"] == reference["name"]:
            return made.get("resourceClaimName") or ""
    return None


def _has_room(claim: Object, pod: PodInfo) -> bool:
    reserved = claim["status"].get("reservedFor") or ()
    return len(reserved) < CONSUMERS or any(consumer.get("uid") == pod.uid for consumer in reserved)
