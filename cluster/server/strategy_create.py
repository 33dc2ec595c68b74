"""What single kinds get before their validation: the status of a new pod, a job's selector.

Called with a private object whose system metadata (uid, creation time) is already there. A function for
updates also gets the stored object, and puts back what its endpoint may not write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.server.label_keys import merge_label_keys


def _pod(obj: Object) -> None:
    spec = obj["spec"]
    merge_label_keys(obj)
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
    if spec.get("schedulingGates"):
        obj["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": None,
                "lastTransitionTime": obj["metadata"]["creationTimestamp"],
            }
        ]


_COMPUTE = ("cpu", "memory")


def quality_of_service(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' requests and limits."""
    pod_level = spec.get("resources") or {}
    if pod_level.get("requests") or pod_level.get("limits"):
        return _quality([pod_level])
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    return _quality([container.get("resources") or {} for container in containers])


def _quality(resources: list[Mapping[str, Any]]) -> str:
    best_effort, guaranteed = True, True
    for each in resources:
        requests, limits = each.get("requests") or {}, each.get("limits") or {}
        for name in _COMPUTE:
            request, limit = requests.get(name), limits.get(name)
            requested = request is not None and not _is_zero(request)
            limited = limit is not None and not _is_zero(limit)
            best_effort = best_effort and not requested and not limited
            if not limited or (requested and request != limit and parse(str(request)) != parse(str(limit))):
                guaranteed = False
    if best_effort:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _is_zero(value: Any) -> bool:
    return value in (0, "0") or parse(str(value)) == parse("0")


def _namespace(obj: Object) -> None:
    metadata = obj["metadata"]  # whose name may have been drawn after the defaults were set
    if name := metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": name}
    spec = obj["spec"] = dict(obj.get("spec") or {})
    if "kubernetes" not in (spec.get("finalizers") or ()):
        spec["finalizers"] = [*(spec.get("finalizers") or ()), "kubernetes"]
    obj["status"] = {"phase": "Active"}


def _namespace_update(new: Object, old: Mapping[str, Any]) -> None:
    new["spec"] = old.get("spec", {})


_JOB_UID, _JOB_NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_LEGACY_JOB_UID, _LEGACY_JOB_NAME = "controller-uid", "job-name"


def _job(obj: Object) -> None:
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    template_metadata = spec.setdefault("template", {}).setdefault("metadata", {})
    labels = template_metadata["labels"] = dict(template_metadata.get("labels") or {})
    for name, value in (
        (_LEGACY_JOB_UID, metadata["uid"]),
        (_LEGACY_JOB_NAME, metadata.get("name", "")),
        (_JOB_UID, metadata["uid"]),
        (_JOB_NAME, metadata.get("name", "")),
    ):
        labels.setdefault(name, value)
    selector = spec["selector"] = dict(spec.get("selector") or {})
    selector["matchLabels"] = dict(selector.get("matchLabels") or {}) | {_JOB_UID: metadata["uid"]}


def _certificate_request_update(new: Object, old: Mapping[str, Any]) -> None:
    new["spec"] = old.get("spec", {})


def _priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _definition(obj: Object) -> None:
    stored = [version["name"] for version in obj["spec"].get("versions") or () if version["storage"]]
    names = {"kind": "", "plural": ""}
    obj["status"] = {"conditions": None, "acceptedNames": names, "storedVersions": stored}


def _definition_update(new: Object, old: Mapping[str, Any]) -> None:
    """A version that objects are stored in is remembered until somebody says that none are left."""
    status = new.get("status") or {}
    known = status.get("storedVersions") or []
    added = [
        version["name"]
        for version in new["spec"].get("versions") or ()
        if version["storage"] and version["name"] not in known
    ]
    if added:
        new["status"] = {**status, "storedVersions": [*known, *added]}


PREPARE_CREATE: dict[str, Callable[[Object], None]] = {
    "pods": _pod,
    "namespaces": _namespace,
    "jobs.batch": _job,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
PREPARE_UPDATE: dict[str, Callable[[Object, Mapping[str, Any]], None]] = {
    "namespaces": _namespace_update,
    "customresourcedefinitions.apiextensions.k8s.io": _definition_update,
    "certificatesigningrequests.certificates.k8s.io": _certificate_request_update,
}
