"""Which pods a node refuses to run at all, as the kubelet's admission does, and with its reasons.

In its order: pressure and shutdown, unsafe sysctls, then room, affinity, ports and NoExecute taints. A pod
that is being deleted already, or was seen to its end, is not asked. Divergence: a critical pod makes no room
for itself by evicting others here; the scheduler's preemption does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.allocation import Allocation, Refusal, failed_predicate
from agents.podstatus import qos_class
from cluster.api.nodeselectors import required_node
from cluster.api.objects import Object
from cluster.api.tolerations import tolerates, untolerated

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
CRITICAL_PRIORITY = 2_000_000_000
_MEMORY_TAINT = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}


@dataclass(slots=True)
class Admission:
    """What the node knows of itself when it decides."""

    name: str
    allocation: Allocation
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: list[Mapping[str, Any]] = field(default_factory=list)
    pressures: tuple[str, ...] = ()
    """Of the conditions MemoryPressure, DiskPressure and PIDPressure, those that hold."""
    shutting_down: bool = False

    def learn(self, node: Object) -> None:
        """The Node object changed."""
        self.labels = node["metadata"].get("labels") or {}
        self.taints = node.get("spec", {}).get("taints") or []

    def refusal(self, uid: str, pod: Object) -> Refusal | None:
        """None: the pod is booked and may run."""
        if "deletionTimestamp" in pod["metadata"]:
            return None
        return (
            self._pressed(pod)
            or self._leaving()
            or _unsafe_sysctl(pod)
            or self.allocation.admit(uid, pod)
            or self._misplaced(uid, pod)
        )

    def _pressed(self, pod: Object) -> Refusal | None:
        if not self.pressures or (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY:
            return None
        if self.pressures == ("MemoryPressure",) and (
            qos_class(pod) != "BestEffort"
            or any(tolerates(t, _MEMORY_TAINT) for t in pod["spec"].get("tolerations", ()))
        ):
            return None
        return Refusal("Evicted", f"The node had condition: [{' '.join(self.pressures)}]. ")

    def _leaving(self) -> Refusal | None:
        if not self.shutting_down:
            return None
        return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")

    def _misplaced(self, uid: str, pod: Object) -> Refusal | None:
        """Gives the booking back where the pod may not be here."""
        refusal = self._wrong_node(pod)
        if refusal is not None:
            self.allocation.release(uid)
        return refusal

    def _wrong_node(self, pod: Object) -> Refusal | None:
        spec = pod["spec"]
        test = required_node(spec)
        if test is not None and not test(self.labels, self.name):
            return failed_predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
        if self.taints and untolerated(spec.get("tolerations", ()), self.taints, ("NoExecute",)):
            return failed_predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
        return None


def _unsafe_sysctl(pod: Object) -> Refusal | None:
    security = pod["spec"].get("securityContext")
    for sysctl in (security or {}).get("sysctls") or ():
        name = sysctl["name"].replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
    return None
