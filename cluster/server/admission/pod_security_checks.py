"""The pod security standards as a table of checks, each giving one finding in Kubernetes' words or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_BASELINE_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SAFE_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
})  # fmt: skip
_RESTRICTED_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret", "image",
})  # fmt: skip
_SAFE_SECCOMP = ("RuntimeDefault", "Localhost")

Pod = Mapping[str, Any]
Container = Mapping[str, Any]


def violations(pod: Pod, standard: str) -> list[str]:
    """What `pod` (anything with metadata and spec) has against "baseline" or "restricted"."""
    own = _RESTRICTED if standard == "restricted" else _BASELINE_ONLY
    checks = (*_BASELINE, *own)
    return [found for check in checks if (found := check(pod))]


def _containers(pod: Pod) -> list[Container]:
    spec = pod["spec"]
    return [
        *(spec.get("initContainers") or ()),
        *(spec.get("containers") or ()),
        *(spec.get("ephemeralContainers") or ()),
    ]


def _security(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = holder.get("securityContext") or {}
    return found


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _subject(names: Sequence[str]) -> str:
    return f"container{'s' if len(names) > 1 else ''} {_quoted(names)}"


def _host_namespaces(pod: Pod) -> str:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name)]
    return f"host namespaces ({', '.join(used)})" if used else ""


def _privileged(pod: Pod) -> str:
    names = [c["name"] for c in _containers(pod) if _security(c).get("privileged")]
    return f"privileged ({_subject(names)} must not set securityContext.privileged=true)" if names else ""


def _host_paths(pod: Pod) -> str:
    names = [v["name"] for v in pod["spec"].get("volumes") or () if "hostPath" in v]
    return f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {_quoted(names)})" if names else ""


def _host_ports(pod: Pod) -> str:
    names, ports = [], []
    for container in _containers(pod):
        used = [p["hostPort"] for p in container.get("ports") or () if p.get("hostPort")]
        if used:
            names.append(container["name"])
            ports += used
    if not names:
        return ""
    word = "hostPort" if len(ports) == 1 else "hostPorts"
    verb = "uses" if len(names) == 1 else "use"
    return f"hostPort ({_subject(names)} {verb} {word} {', '.join(str(port) for port in sorted(set(ports)))})"


def _proc_mount(pod: Pod) -> str:
    bad = [c for c in _containers(pod) if _security(c).get("procMount", "Default") != "Default"]
    if not bad:
        return ""
    values = sorted({_security(c)["procMount"] for c in bad})
    names = _subject([container["name"] for container in bad])
    return f"procMount ({names} must not set securityContext.procMount to {_quoted(values)})"


def _sysctls(pod: Pod) -> str:
    used = [s["name"] for s in _security(pod["spec"]).get("sysctls") or () if s["name"] not in _SAFE_SYSCTLS]
    return f"forbidden sysctls ({', '.join(used)})" if used else ""


def _baseline_capabilities(pod: Pod) -> str:
    names, added = [], []
    for container in _containers(pod):
        extra = [
            c
            for c in (_security(container).get("capabilities") or {}).get("add") or ()
            if c not in _BASELINE_CAPABILITIES
        ]
        if extra:
            names.append(container["name"])
            added += extra
    if not names:
        return ""
    return (
        f"non-default capabilities ({_subject(names)} must not include {_quoted(sorted(set(added)))} in "
        "securityContext.capabilities.add)"
    )


def _baseline_seccomp(pod: Pod) -> str:
    holders = []
    if (_security(pod["spec"]).get("seccompProfile") or {}).get("type") == "Unconfined":
        holders.append("pod")
    names = [
        c["name"]
        for c in _containers(pod)
        if (_security(c).get("seccompProfile") or {}).get("type") == "Unconfined"
    ]
    if names:
        holders.append(_subject(names))
    if not holders:
        return ""
    return _unconfined(holders)


def _unconfined(holders: Sequence[str]) -> str:
    return (
        f"seccompProfile ({' and '.join(holders)} must not set securityContext.seccompProfile.type to "
        '"Unconfined")'
    )


def _volume_types(pod: Pod) -> str:
    bad = {}
    for volume in pod["spec"].get("volumes") or ():
        kinds = [key for key in volume if key != "name"]
        if kinds and kinds[0] not in _RESTRICTED_VOLUMES:
            bad[volume["name"]] = kinds[0]
    if not bad:
        return ""
    verb = "uses" if len(bad) == 1 else "use"
    types = sorted(set(bad.values()))
    return (
        f"restricted volume types (volume{'s' if len(bad) > 1 else ''} {_quoted(bad)} {verb} restricted "
        f"volume type{'s' if len(types) > 1 else ''} {_quoted(types)})"
    )


def _privilege_escalation(pod: Pod) -> str:
    names = [c["name"] for c in _containers(pod) if _security(c).get("allowPrivilegeEscalation") is not False]
    if not names:
        return ""
    return (
        f"allowPrivilegeEscalation != false ({_subject(names)} must set "
        "securityContext.allowPrivilegeEscalation=false)"
    )


def _restricted_capabilities(pod: Pod) -> str:
    undropped, adding, added = [], [], []
    for container in _containers(pod):
        capabilities = _security(container).get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            undropped.append(container["name"])
        extra = [c for c in capabilities.get("add") or () if c != "NET_BIND_SERVICE"]
        if extra:
            adding.append(container["name"])
            added += extra
    parts = []
    if undropped:
        parts.append(f'{_subject(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        parts.append(
            f"{_subject(adding)} must not include {_quoted(sorted(set(added)))} in "
            "securityContext.capabilities.add"
        )
    return f"unrestricted capabilities ({'; '.join(parts)})" if parts else ""


def _run_as_non_root(pod: Pod) -> str:
    pod_says = _security(pod["spec"]).get("runAsNonRoot")
    explicit = [c["name"] for c in _containers(pod) if _security(c).get("runAsNonRoot") is False]
    if pod_says is False:
        explicit_text = "pod" if not explicit else f"pod and {_subject(explicit)}"
        return f"runAsNonRoot != true ({explicit_text} must not set securityContext.runAsNonRoot=false)"
    if explicit:
        return f"runAsNonRoot != true ({_subject(explicit)} must not set securityContext.runAsNonRoot=false)"
    if pod_says:
        return ""
    silent = [c["name"] for c in _containers(pod) if not _security(c).get("runAsNonRoot")]
    if not silent:
        return ""
    return f"runAsNonRoot != true (pod or {_subject(silent)} must set securityContext.runAsNonRoot=true)"


def _run_as_user(pod: Pod) -> str:
    holders = ["pod"] if _security(pod["spec"]).get("runAsUser") == 0 else []
    names = [c["name"] for c in _containers(pod) if _security(c).get("runAsUser") == 0]
    if names:
        holders.append(_subject(names))
    return f"runAsUser=0 ({' and '.join(holders)} must not set runAsUser=0)" if holders else ""


def _restricted_seccomp(pod: Pod) -> str:
    pod_type = (_security(pod["spec"]).get("seccompProfile") or {}).get("type")
    holders, silent = [], []
    if pod_type is not None and pod_type not in _SAFE_SECCOMP:
        holders.append("pod")
    bad = []
    for container in _containers(pod):
        kind = (_security(container).get("seccompProfile") or {}).get("type")
        if kind is None and pod_type is None:
            silent.append(container["name"])
        elif kind is not None and kind not in _SAFE_SECCOMP:
            bad.append(container["name"])
    if bad:
        holders.append(_subject(bad))
    if holders:
        return _unconfined(holders)
    if not silent:
        return ""
    return (
        f"seccompProfile (pod or {_subject(silent)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost")'
    )


_BASELINE: tuple[Callable[[Pod], str], ...] = (
    _host_namespaces, _host_ports, _host_paths, _privileged, _proc_mount, _sysctls,
)  # fmt: skip
_RESTRICTED: tuple[Callable[[Pod], str], ...] = (
    _privilege_escalation, _restricted_capabilities, _volume_types, _run_as_non_root, _run_as_user,
    _restricted_seccomp,
)  # fmt: skip
_BASELINE_ONLY: tuple[Callable[[Pod], str], ...] = (_baseline_seccomp, _baseline_capabilities)
"""What the restricted standard replaces by something stricter."""
