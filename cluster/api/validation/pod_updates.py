"""What of a pod may change, through the pod itself and through its subresources.

Divergence: Kubernetes appends a diff of Go structs to the refusal of a change; here the paths of the changed
fields follow, in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.api.objects import Object
from cluster.api.validation.formats import dns_subdomain
from cluster.api.validation.pods import validate_pod
from cluster.api.validation.report import Report, shown

_OTHER_CHANGES = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod_update(new: Object, old: Object, report: Report) -> None:
    spec, former = new["spec"], old["spec"]
    if spec == former:
        return
    validate_pod(new, report)
    if not _same_containers(spec, former, report):
        return
    _validate_deadline(spec, former, report)
    _validate_tolerations(spec, former, report)
    _validate_gates(spec, former, report)
    expected = _with_allowed_changes(spec, former)
    if spec != expected:
        lines = "\n".join(_differences(spec, expected, "spec"))
        report.forbidden("spec", f"{_OTHER_CHANGES}\n{lines}\n")


def _same_containers(spec: Object, former: Object, report: Report) -> bool:
    same = True
    for name, word in (("containers", "containers"), ("initContainers", "init containers")):
        if len(spec.get(name) or ()) != len(former.get(name) or ()):
            report.forbidden(f"spec.{name}", f"pod updates may not add or remove {word}")
            same = False
    return same


def _validate_deadline(spec: Object, former: Object, report: Report) -> None:
    deadline, before = spec.get("activeDeadlineSeconds"), former.get("activeDeadlineSeconds")
    if before is None:
        return
    if deadline is None:
        report.invalid(
            "spec.activeDeadlineSeconds", None, "must not update from a positive integer to nil value"
        )
    elif deadline > before:
        report.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")


def _validate_tolerations(spec: Object, former: Object, report: Report) -> None:
    kept = spec.get("tolerations") or []
    for toleration in former.get("tolerations") or ():
        if not any(_tolerates_as(one, toleration) for one in kept):
            report.forbidden(
                "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
            )
            return


def _tolerates_as(one: Object, other: Object) -> bool:
    return {k: v for k, v in one.items() if k != "tolerationSeconds"} == {
        k: v for k, v in other.items() if k != "tolerationSeconds"
    }


def _validate_gates(spec: Object, former: Object, report: Report) -> None:
    before = [gate["name"] for gate in former.get("schedulingGates") or ()]
    added = [gate["name"] for gate in spec.get("schedulingGates") or () if gate["name"] not in before]
    if added:
        report.forbidden(
            "spec.schedulingGates",
            f"only deletion is allowed, but found new scheduling gates '{{{','.join(added)}}}'",
        )


def _with_allowed_changes(spec: Object, former: Object) -> Object:
    """The old spec with those changes of the new one that are allowed."""
    expected = dict(former)
    for name in ("containers", "initContainers"):
        if name in former:
            expected[name] = [
                before | {"image": after["image"]} if "image" in after else before
                for before, after in zip(former[name], spec.get(name) or (), strict=True)
            ]
    free = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if former.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        free.append("terminationGracePeriodSeconds")
    if former.get("schedulingGates"):
        free += ["nodeSelector", "affinity"]
    for name in free:
        if name in spec:
            expected[name] = spec[name]
        else:
            expected.pop(name, None)
    return expected


def _differences(new: Any, old: Any, path: str) -> Iterator[str]:
    if isinstance(new, dict) and isinstance(old, dict):
        for name in sorted(new.keys() | old.keys()):
            yield from _differences(new.get(name), old.get(name), f"{path}.{name}")
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for index, (after, before) in enumerate(zip(new, old, strict=True)):
            yield from _differences(after, before, f"{path}[{index}]")
    elif new != old:
        yield f"{path}: {shown(old)} -> {shown(new)}"


def validate_ephemeral_containers(new: Object, old: Object, report: Report) -> None:
    """The ephemeralcontainers subresource: containers may only be added."""
    validate_pod(new, report)
    after = {c["name"]: c for c in new["spec"].get("ephemeralContainers") or ()}
    for index, container in enumerate(old["spec"].get("ephemeralContainers") or ()):
        here = f"spec.ephemeralContainers[{index}]"
        kept = after.get(container["name"])
        if kept is None:
            report.forbidden(
                "spec.ephemeralContainers",
                f'existing ephemeral containers "{container["name"]}" may not be removed\n',
            )
        elif kept != container:
            lines = "\n".join(_differences(kept, container, here))
            report.forbidden(
                "spec.ephemeralContainers",
                f'existing ephemeral containers "{container["name"]}" may not be changed\n{lines}\n',
            )


def validate_pod_status(new: Object, old: Object, report: Report) -> None:
    nominated = new["status"].get("nominatedNodeName")
    if nominated and nominated != old.get("status", {}).get("nominatedNodeName"):
        report.invalid_each("status.nominatedNodeName", nominated, dns_subdomain(nominated))
    if new["spec"].get("nodeName") != old["spec"].get("nodeName"):
        report.forbidden("status.nodeName", "may not be changed directly")
