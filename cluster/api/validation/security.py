"""Security contexts of pods and containers."""

from __future__ import annotations

import re

from cluster.api.objects import Object
from cluster.api.validation import formats
from cluster.api.validation.report import Report

_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_CHANGE_POLICIES = ("Always", "OnRootMismatch")
_GROUP_POLICIES = ("Merge", "Strict")
_SYSCTL = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_RE = re.compile(_SYSCTL)


def validate_container_security(security: Object, path: str, report: Report) -> None:
    for name in ("runAsUser", "runAsGroup"):
        _validate_id(security, name, path, report)
    if "procMount" in security:
        report.one_of(f"{path}.procMount", security["procMount"], _PROC_MOUNTS)
    _validate_profiles(security, path, report)
    if security.get("allowPrivilegeEscalation") is False:
        if security.get("privileged"):
            report.invalid(
                path, security, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            )
        if "CAP_SYS_ADMIN" in ((security.get("capabilities") or {}).get("add") or ()):
            report.invalid(
                path,
                security,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            )


def validate_pod_security(security: Object, path: str, report: Report) -> None:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        _validate_id(security, name, path, report)
    for index, group in enumerate(security.get("supplementalGroups") or ()):
        report.invalid_each(f"{path}.supplementalGroups[{index}]", group, formats.user_or_group(group))
    names: set[str] = set()
    for index, sysctl in enumerate(security.get("sysctls") or ()):
        here = f"{path}.sysctls[{index}].name"
        name = sysctl["name"]
        if not name:
            report.required(here)
        elif len(name) > 253 or not _SYSCTL_RE.fullmatch(name):
            report.invalid(here, name, f"must have at most 253 characters and match regex ^{_SYSCTL}$")
        elif name in names:
            report.duplicate(here, name)
        names.add(name)
    report.one_of(
        f"{path}.fsGroupChangePolicy", security.get("fsGroupChangePolicy"), _CHANGE_POLICIES, needed=False
    )
    report.one_of(
        f"{path}.supplementalGroupsPolicy",
        security.get("supplementalGroupsPolicy"),
        _GROUP_POLICIES,
        needed=False,
    )
    _validate_profiles(security, path, report)


def _validate_id(security: Object, name: str, path: str, report: Report) -> None:
    if (value := security.get(name)) is not None and (wrong := formats.user_or_group(value)):
        report.invalid_each(f"{path}.{name}", value, wrong)


def _validate_profiles(security: Object, path: str, report: Report) -> None:
    for name in ("seccompProfile", "appArmorProfile"):
        if (profile := security.get(name)) is None:
            continue
        kind = profile.get("type")
        report.one_of(f"{path}.{name}.type", kind, _SECCOMP)
        if kind == "Localhost" and not profile.get("localhostProfile"):
            report.required(
                f"{path}.{name}.localhostProfile",
                "must be set when seccomp type is Localhost"
                if name == "seccompProfile"
                else "must be set when AppArmor type is Localhost",
            )
        elif kind != "Localhost" and "localhostProfile" in profile:
            what = "seccomp" if name == "seccompProfile" else "AppArmor"
            report.invalid(
                f"{path}.{name}.localhostProfile",
                profile["localhostProfile"],
                f"can only be set when {what} type is Localhost",
            )
