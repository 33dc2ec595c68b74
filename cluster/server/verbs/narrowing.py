"""Updates through a subresource: how much of an object each may change.

A function takes the current version and the wanted one, whole as a PUT sends it or a patch made it, and gives
the current one with the subresource's own part replaced. So an update, a patch and an apply through a
subresource can do the same and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cluster.api.objects import Object, copy_of

Narrow = Callable[[Object, Object], Object]
_PRECONDITIONS = ("uid", "resourceVersion", "managedFields")


def whole(current: Object, wanted: Object) -> Object:
    """Everything that is wanted: the main endpoint and /status, which strategies narrow."""
    return wanted


def _metadata(current: Object, wanted: Object) -> Object:
    """The current metadata with what else a request says of identity and ownership."""
    sent = wanted["metadata"]
    said = {name: sent[name] for name in _PRECONDITIONS if sent.get(name)}
    return {**current["metadata"], **said}


def finalized(current: Object, wanted: Object) -> Object:
    """Namespaces: spec.finalizers."""
    finalizers = (wanted.get("spec") or {}).get("finalizers")
    spec = {"finalizers": finalizers} if finalizers else {}
    return {**current, "metadata": _metadata(current, wanted), "spec": spec}


def approved(current: Object, wanted: Object) -> Object:
    """Certificate signing requests: the conditions, and labels and annotations."""
    conditions = (wanted.get("status") or {}).get("conditions")
    status = {name: value for name, value in current.get("status", {}).items() if name != "conditions"}
    if conditions:
        status["conditions"] = conditions
    return {**current, "metadata": dict(wanted["metadata"]), "status": status}


def extended(current: Object, wanted: Object) -> Object:
    """Pods: ephemeral containers, which are only ever added."""
    spec = {**current["spec"]}
    containers = wanted["spec"].get("ephemeralContainers")
    if containers:
        spec["ephemeralContainers"] = copy_of(containers)
    return {**current, "metadata": _metadata(current, wanted), "spec": spec}


def resized(current: Object, wanted: Object) -> Object:
    """Pods: resources and resize policies of containers."""
    spec = {**current["spec"]}
    for field in ("containers", "initContainers"):
        if field in spec:
            new = {c["name"]: c for c in wanted["spec"].get(field, ())}
            spec[field] = [_with_resources(c, new.get(c["name"])) for c in spec[field]]
    return {**current, "metadata": _metadata(current, wanted), "spec": spec}


def _with_resources(container: Object, wanted: Mapping[str, Any] | None) -> Object:
    if wanted is None:
        return container
    return {**container, **{name: wanted[name] for name in ("resources", "resizePolicy") if name in wanted}}


NARROW: Final[dict[tuple[str, str], Narrow]] = {
    ("namespaces", "finalize"): finalized,
    ("certificatesigningrequests.certificates.k8s.io", "approval"): approved,
    ("pods", "ephemeralcontainers"): extended,
    ("pods", "resize"): resized,
}
"""By (qualified, subresource)."""
