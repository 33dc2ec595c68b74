"""Priority: a pod's priority number, from its PriorityClass or from the global default."""

from __future__ import annotations

from cluster.api.errors import forbidden
from cluster.api.kinds import PODS, PRIORITY_CLASSES
from cluster.api.objects import Key, Object
from cluster.server.admission.request import Operation, Request, Setting

_QUALIFIED = "priorityclasses.scheduling.k8s.io"
_DEFAULT_POLICY = "PreemptLowerPriority"


def set_priority(setting: Setting, request: Request) -> None:
    spec = request.object["spec"]
    if request.operation is Operation.UPDATE:
        if request.old is not None and not request.subresource:
            for name in ("priority", "preemptionPolicy"):
                if spec.get(name) is None and name in request.old["spec"]:
                    spec[name] = request.old["spec"][name]
        return
    found = _class_of(setting, request, spec)
    value, policy = (0, _DEFAULT_POLICY) if found is None else (found["value"], _policy(found))
    if spec.get("priority") not in (None, value):
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority "
            f"admission controller computed {value} from the given PriorityClass name"
        )
        raise forbidden(PODS, request.name, why)
    if spec.get("preemptionPolicy") not in (None, policy):
        why = (
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod "
            f"spec; priority admission controller computed {policy} from the given PriorityClass name"
        )
        raise forbidden(PODS, request.name, why)
    spec["priority"], spec["preemptionPolicy"] = value, policy


def _policy(found: Object) -> str:
    policy: str = found.get("preemptionPolicy") or _DEFAULT_POLICY
    return policy


def _class_of(setting: Setting, request: Request, spec: Object) -> Object | None:
    name = spec.get("priorityClassName")
    if name:
        entry = setting.store.get(_QUALIFIED, Key("", name))
        if entry is None:
            raise forbidden(PODS, request.name, f"no PriorityClass with name {name} was found")
        return entry.object
    defaults = [e.object for e in setting.store.list(_QUALIFIED) if e.object.get("globalDefault")]
    if not defaults:
        return None
    lowest = min(defaults, key=lambda found: int(found["value"]))
    spec["priorityClassName"] = lowest["metadata"]["name"]
    return lowest


def check_single_default(setting: Setting, request: Request) -> None:
    """At most one PriorityClass is the global default."""
    if not request.object.get("globalDefault"):
        return
    for entry in setting.store.list(_QUALIFIED):
        if entry.object.get("globalDefault") and entry.key.name != request.name:
            why = (
                f"PriorityClass {entry.key.name} is already marked as globalDefault. "
                "Only one default can exist"
            )
            raise forbidden(PRIORITY_CLASSES, request.name, why)
