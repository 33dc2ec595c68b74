"""VolumeZone: a volume with zone or region labels is used only on nodes that have the same ones.

A node without any such label takes every volume, as in Kubernetes.
"""

from __future__ import annotations

from cluster.api.objects import Key
from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import Check
from cluster.scheduler.plugins.volumes import Lookup, claim_names
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

_STABLE = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
_KEYS = (*_STABLE, *_STABLE.values())
_SEPARATOR = "__"
"""Between the zones of a volume that is in several."""


class VolumeZone:
    name = "VolumeZone"
    _elsewhere = Refusal(name, ("node(s) had no available volume zone",), resolvable=False)

    def __init__(self, claims: Lookup, volumes: Lookup) -> None:
        self._claims, self._volumes = claims, volumes

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not pod.volumes:
            return None
        wanted = self._wanted(pod)
        if not wanted:
            return None

        def check(node: NodeInfo) -> Refusal | None:
            labels = node.labels
            if not any(key in labels for key in _KEYS):
                return None
            for key, values in wanted:
                value = labels.get(key, labels.get(_STABLE.get(key, "")))
                if value not in values:
                    return self._elsewhere
            return None

        return check

    def _wanted(self, pod: PodInfo) -> list[tuple[str, list[str]]]:
        found = []
        for name in claim_names(pod):
            claim = self._claims(Key(pod.namespace, name))
            bound = claim["spec"].get("volumeName") if claim is not None else None
            volume = self._volumes(Key("", bound)) if bound else None
            labels = (volume["metadata"].get("labels") or {}) if volume is not None else {}
            found += [(key, labels[key].split(_SEPARATOR)) for key in _KEYS if key in labels]
        return found
