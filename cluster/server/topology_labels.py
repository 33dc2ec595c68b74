"""A pod that gets its node gets the node's zone and region as labels, for its containers to read.

As Kubernetes' PodTopologyLabels admission does, over labels of these names that the pod brings itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.api.objects import Key
from cluster.store.store import Store

COPIED = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


def topology_labels(store: Store, node: str) -> Mapping[str, str]:
    """What a pod on this node is labelled with."""
    found = store.get("nodes", Key("", node))
    labels = (found.object["metadata"].get("labels") or {}) if found is not None else {}
    return {name: labels[name] for name in COPIED if name in labels}
