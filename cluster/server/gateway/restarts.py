"""Whether a container whose probe failed is to be restarted: decided here, not by the agent."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.wire import ProbeFailed, RestartContainer


def restart_order(pod: Object | None, message: ProbeFailed) -> RestartContainer | None:
    """The order, or None where the failure is moot: no such pod or container, a pod that is being deleted
    or has ended, or an instance that was replaced already."""
    if pod is None or "deletionTimestamp" in pod["metadata"]:
        return None
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    if not any(container["name"] == message.container for container in _containers(pod)):
        return None
    if _restart_count(status, message.container) > message.restart_count:
        return None
    return RestartContainer(
        uid=message.uid,
        container=message.container,
        expected_restart_count=message.restart_count,
        reason=message.message,
    )


def _containers(pod: Object) -> list[Object]:
    spec = pod["spec"]
    return [*spec["containers"], *spec.get("initContainers", ())]


def _restart_count(status: Object, container: str) -> int:
    """As the store has it; it may lag behind the agent, which checks again."""
    for group in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(group, ()):
            if entry["name"] == container:
                return int(entry.get("restartCount", 0))
    return 0
