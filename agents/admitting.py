"""What a node refuses to run at all, as the kubelet's admission does: pods with unsafe sysctls."""

from __future__ import annotations

from cluster.api.objects import Object

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


def refusal(pod: Object) -> tuple[str, str] | None:
    """Reason and message; None for a pod that may run."""
    security = pod["spec"].get("securityContext")
    for sysctl in (security or {}).get("sysctls") or ():
        name = sysctl["name"].replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return "SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted'
    return None
