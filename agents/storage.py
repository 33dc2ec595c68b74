"""Local storage that a pod uses beyond its limits: an emptyDir's, the pod's, a container's. Pure; worded as
the kubelet's eviction manager does, which looks in this order and evicts for the first one found.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.quota import pod_total

RESOURCE = "ephemeral-storage"


def limited(pod: Object) -> bool:
    """Whether there is anything to measure."""
    spec = pod["spec"]
    return any("sizeLimit" in (v.get("emptyDir") or ()) for v in spec.get("volumes", ())) or any(
        RESOURCE in ((c.get("resources") or {}).get("limits") or ()) for c in spec["containers"]
    )


def own_volumes(pod: Object) -> list[tuple[str, bool]]:
    """The volumes that count: names, and whether they are in memory."""
    volumes = pod["spec"].get("volumes", ())
    return [(v["name"], v["emptyDir"].get("medium") == "Memory") for v in volumes if "emptyDir" in v]


def overuse(pod: Object, volumes: Mapping[str, int], containers: Mapping[str, int]) -> str | None:
    """Why the pod is to be evicted, from the bytes in its emptyDirs and of its containers' files and logs."""
    for volume in pod["spec"].get("volumes", ()):
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and 0 < parse(limit).value() < volumes.get(volume["name"], 0):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    total = pod_total(pod["spec"], "limits").get(RESOURCE)
    if total is not None and sum(containers.values()) + _on_disk(pod, volumes) > total.value():
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    for container in pod["spec"]["containers"]:
        limit = ((container.get("resources") or {}).get("limits") or {}).get(RESOURCE)
        if limit and containers.get(container["name"], 0) > parse(limit).value():
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{limit}". '
    return None


def _on_disk(pod: Object, volumes: Mapping[str, int]) -> int:
    return sum(volumes.get(name, 0) for name, in_memory in own_volumes(pod) if not in_memory)
