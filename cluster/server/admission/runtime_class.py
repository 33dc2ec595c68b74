"""RuntimeClass: a pod that names one gets its overhead, node selector and tolerations.

Divergence: the handler itself means nothing; every runtime is emulated.
"""

from __future__ import annotations

from typing import Any

from cluster.api.errors import Forbidden, forbidden
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object
from cluster.api.quantity import parse
from cluster.server.admission.request import Request, Setting

_QUALIFIED = "runtimeclasses.node.k8s.io"
_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


def apply_runtime_class(setting: Setting, request: Request) -> None:
    spec = request.object["spec"]
    found = _class_of(setting, request, spec)
    if found is None:
        return
    overhead = (found.get("overhead") or {}).get("podFixed")
    if overhead:
        if spec.get("overhead") and not _equal(spec["overhead"], overhead):
            raise _refused(request, _MISMATCH)
        spec["overhead"] = dict(overhead)
    scheduling = found.get("scheduling") or {}
    _select_nodes(request, spec, scheduling.get("nodeSelector") or {})
    if scheduling.get("tolerations"):
        present = spec.get("tolerations") or []
        added = [toleration for toleration in scheduling["tolerations"] if toleration not in present]
        spec["tolerations"] = [*present, *added]


def check_runtime_class(setting: Setting, request: Request) -> None:
    """The overhead is what the class says, also after webhooks."""
    spec = request.object["spec"]
    found = _class_of(setting, request, spec)
    defined = ((found or {}).get("overhead") or {}).get("podFixed") or {}
    if spec.get("overhead") and not defined:
        why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise _refused(request, why)
    if not _equal(spec.get("overhead") or {}, defined):
        raise _refused(request, _MISMATCH)


def _class_of(setting: Setting, request: Request, spec: Object) -> Object | None:
    name = spec.get("runtimeClassName")
    if not name:
        return None
    entry = setting.store.get(_QUALIFIED, Key("", name))
    if entry is None:
        raise _refused(request, f'pod rejected: RuntimeClass "{name}" not found')
    return entry.object


def _select_nodes(request: Request, spec: Object, selector: dict[str, str]) -> None:
    merged = dict(spec.get("nodeSelector") or {})
    for key, value in selector.items():
        if merged.get(key, value) != value:
            why = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {merged[key]}"
            )
            raise _refused(request, why)
        merged[key] = value
    if merged:
        spec["nodeSelector"] = merged


def _equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(parse(left[name]) == parse(right[name]) for name in left)


def _refused(request: Request, why: str) -> Forbidden:
    return forbidden(PODS, request.name, why)
