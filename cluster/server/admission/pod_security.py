"""PodSecurity: the pod security standards, per namespace by label.

`pod-security.kubernetes.io/{enforce,warn,audit}: privileged|baseline|restricted`; enforce refuses pods,
warn adds warnings for pods and for whatever holds a pod template. The checks themselves are in
`cluster.server.admission.pod_security_checks`.

What audit finds, and the standard that was enforced, goes to the audit log.

Divergence: `<mode>-version` is only echoed, the checks are always the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.errors import forbidden
from cluster.api.kinds import PODS
from cluster.api.objects import Key
from cluster.server.admission.pod_security_checks import violations
from cluster.server.admission.request import Operation, Request, Setting

_LABEL = "pod-security.kubernetes.io/"
_ACTIVE = frozenset({"baseline", "restricted"})


def check_pod_security(setting: Setting, request: Request) -> None:
    entry = setting.store.get("namespaces", Key("", request.namespace))
    labels = (entry.object["metadata"].get("labels") or {}) if entry is not None else {}
    enforce, warn, audit = (labels.get(_LABEL + mode) for mode in ("enforce", "warn", "audit"))
    if not {enforce, warn, audit} & _ACTIVE:
        return
    if request.operation is Operation.UPDATE and _same_pod(request):
        return
    template = _template(request)
    if template is None:
        return
    notes = request.call.annotations
    if audit in _ACTIVE and (found := violations(template, audit)):
        standard = f"{audit}:{labels.get(_LABEL + 'audit-version', 'latest')}"
        notes[_LABEL + "audit-violations"] = f'would violate PodSecurity "{standard}": {", ".join(found)}'
    if request.qualified == "pods" and enforce in _ACTIVE:
        standard = f"{enforce}:{labels.get(_LABEL + 'enforce-version', 'latest')}"
        notes[_LABEL + "enforce-policy"] = standard
        found = violations(template, enforce)
        if found:
            raise forbidden(PODS, request.name, f'violates PodSecurity "{standard}": {", ".join(found)}')
    if warn in _ACTIVE:
        found = violations(template, warn)
        if found:
            standard = f"{warn}:{labels.get(_LABEL + 'warn-version', 'latest')}"
            request.call.warnings.append(f'would violate PodSecurity "{standard}": {", ".join(found)}')


def _same_pod(request: Request) -> bool:
    old = request.old
    return old is not None and request.object.get("spec") == old.get("spec")


def _template(request: Request) -> Mapping[str, Any] | None:
    """What has the pod's metadata and spec."""
    obj: Mapping[str, Any] = request.object
    if request.qualified == "pods":
        return obj
    if request.qualified == "podtemplates":
        return obj.get("template")
    spec: Mapping[str, Any] = obj.get("spec") or {}
    if request.qualified == "cronjobs.batch":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return spec.get("template")
