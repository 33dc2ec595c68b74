"""The pod's table: above all its STATUS, which kubectl users read as the pod's one-word story.

The word is the phase, unless something more telling is known: a scheduling gate, an init container on its
way or
in trouble, a waiting or ended container, a deletion in progress, a lost node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cluster.api.tables.columns import (
    NAME,
    NONE,
    Cells,
    Layout,
    age,
    layout,
    name,
    or_none,
    since,
    true_conditions,
)

_Status = Mapping[str, Any]


@dataclass(slots=True)
class _Summary:
    reason: str
    ready: int = 0
    restarts: int = 0
    restarted_at: str = ""

    def restart(self, status: _Status) -> None:
        self.restarts += status.get("restartCount", 0)
        ended = status.get("lastState", {}).get("terminated", {}).get("finishedAt") or ""
        self.restarted_at = max(self.restarted_at, ended)


def pod_cells(pod: Mapping[str, Any], now: datetime) -> Cells:
    spec, status = pod.get("spec", {}), pod.get("status", {})
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    summary = _summarise(pod, sidecars)
    restarts = str(summary.restarts)
    if summary.restarts and summary.restarted_at:
        restarts = f"{restarts} ({since(summary.restarted_at, now)} ago)"
    total = len(spec.get("containers") or ()) + len(sidecars)
    ips = status.get("podIPs") or ()
    return [
        name(pod),
        f"{summary.ready}/{total}",
        summary.reason,
        restarts,
        age(pod, now),
        or_none(ips[0].get("ip") if ips else status.get("podIP")),
        or_none(spec.get("nodeName")),
        or_none(status.get("nominatedNodeName")),
        _readiness_gates(spec.get("readinessGates") or (), true_conditions(pod)),
    ]


def _summarise(pod: Mapping[str, Any], sidecars: set[str]) -> _Summary:
    status = pod.get("status", {})
    phase = status.get("phase", "")
    summary = _Summary(status.get("reason") or phase)
    if any(
        c["type"] == "PodScheduled" and c.get("reason") == "SchedulingGated"
        for c in status.get("conditions") or ()
    ):
        summary.reason = "SchedulingGated"
    of_sidecars = _Summary("")
    initializing = _init_containers(pod, summary, of_sidecars, sidecars)
    if not initializing or "Initialized" in true_conditions(pod):
        summary.restarts, summary.restarted_at = of_sidecars.restarts, of_sidecars.restarted_at
        _containers(pod, summary)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _init_containers(
    pod: Mapping[str, Any], summary: _Summary, of_sidecars: _Summary, sidecars: set[str]
) -> bool:
    """Whether an init container has still to finish; its state becomes the reason."""
    for index, container in enumerate(pod.get("status", {}).get("initContainerStatuses") or ()):
        sidecar = container["name"] in sidecars
        summary.restart(container)
        if sidecar:
            of_sidecars.restart(container)
        state = container.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting", {}).get("reason")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.reason = "Init:" + _ended(terminated)
        elif waiting and waiting != "PodInitializing":
            summary.reason = "Init:" + waiting
        else:
            summary.reason = f"Init:{index}/{len(pod['spec'].get('initContainers') or ())}"
        return True
    return False


def _containers(pod: Mapping[str, Any], summary: _Summary) -> None:
    running = False
    for container in reversed(pod.get("status", {}).get("containerStatuses") or ()):
        summary.restart(container)
        state = container.get("state", {})
        if reason := state.get("waiting", {}).get("reason"):
            summary.reason = reason
        elif "terminated" in state:
            summary.reason = _ended(state["terminated"])
        elif container.get("ready") and "running" in state:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if "Ready" in true_conditions(pod) else "NotReady"


def _ended(terminated: Mapping[str, Any]) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _readiness_gates(gates: Sequence[Mapping[str, Any]], true: set[str]) -> str:
    if not gates:
        return NONE
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


def row_conditions(pod: Mapping[str, Any]) -> list[dict[str, str]]:
    """Marks the rows of pods that have ended, so that clients can hide them."""
    phase = pod.get("status", {}).get("phase")
    if phase not in _ENDED:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _ENDED[phase]}]


_ENDED: Final = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}

PODS: Final[Layout] = layout(
    pod_cells, NAME, "Ready", "Status", "Restarts", "Age", "IP+", "Node+", "Nominated Node+",
    "Readiness Gates+",
)  # fmt: skip
