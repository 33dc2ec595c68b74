"""Tables of volumes, claims, storage classes, CSI objects and devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cluster.api.tables.columns import NONE, UNSET, Cells, Layout, age, layout, name

_Object = Mapping[str, Any]
_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_ANNOTATIONS: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _access_modes(modes: Sequence[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _phase(obj: _Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


def _class(obj: _Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS_ANNOTATION) or obj["spec"].get("storageClassName") or "")


def _volume(obj: _Object, now: datetime) -> Cells:
    spec, claim = obj["spec"], obj["spec"].get("claimRef")
    return [
        name(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        obj.get("status", {}).get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(obj: _Object, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        name(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _access_modes(status.get("accessModes")) if bound else "",
        _class(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(obj: _Object, now: datetime) -> Cells:
    annotations = obj["metadata"].get("annotations") or {}
    default = any(annotations.get(key) == "true" for key in _DEFAULT_ANNOTATIONS)
    return [
        name(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        obj.get("allowVolumeExpansion") or False,
        age(obj, now),
    ]


def _attributes_class(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("driverName", ""), age(obj, now)]


def _attachment(obj: _Object, now: datetime) -> Cells:
    spec = obj["spec"]
    return [
        name(obj),
        spec.get("attacher", ""),
        spec.get("source", {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        obj.get("status", {}).get("attached", False),
        age(obj, now),
    ]


def _driver(obj: _Object, now: datetime) -> Cells:
    spec = obj["spec"]
    return [
        name(obj),
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        ",".join(request.get("audience", "") for request in spec.get("tokenRequests") or ()) or UNSET,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age(obj, now),
    ]


def _csi_node(obj: _Object, now: datetime) -> Cells:
    return [name(obj), len(obj["spec"].get("drivers") or ()), age(obj, now)]


def _capacity(obj: _Object, now: datetime) -> Cells:
    return [name(obj), obj.get("storageClassName", ""), obj.get("capacity") or UNSET]


def _plain(obj: _Object, now: datetime) -> Cells:
    return [name(obj), age(obj, now)]


def _resource_claim(obj: _Object, now: datetime) -> Cells:
    status, states = obj.get("status", {}), []
    deleted = bool(obj["metadata"].get("deletionTimestamp"))
    if deleted:
        states.append("deleted")
    if status.get("allocation"):
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not deleted:
        states.append("pending")
    return [name(obj), ",".join(states), age(obj, now)]


def _resource_slice(obj: _Object, now: datetime) -> Cells:
    spec = obj["spec"]
    pool = spec.get("pool", {}).get("name", "")
    return [name(obj), spec.get("nodeName") or UNSET, spec.get("driver", ""), pool, age(obj, now)]


LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("", "persistentvolumes"): layout(
        _volume, "Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
        "VolumeAttributesClass", "Reason", "Age", "VolumeMode+",
    ),
    ("", "persistentvolumeclaims"): layout(
        _claim, "Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass",
        "VolumeAttributesClass",
        "Age", "VolumeMode+",
    ),
    ("storage.k8s.io", "storageclasses"): layout(
        _storage_class, "Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode",
        "AllowVolumeExpansion", "Age"
    ),
    ("storage.k8s.io", "volumeattributesclasses"): layout(_attributes_class, "Name", "DriverName", "Age"),
    ("storage.k8s.io", "volumeattachments"): layout(
        _attachment, "Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"
    ),
    ("storage.k8s.io", "csidrivers"): layout(
        _driver, "Name", "AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean",
        "TokenRequests", "RequiresRepublish:boolean", "Modes", "Age",
    ),
    ("storage.k8s.io", "csinodes"): layout(_csi_node, "Name", "Drivers:integer", "Age"),
    ("storage.k8s.io", "csistoragecapacities"): layout(_capacity, "Name", "StorageClassName", "Capacity"),
    ("resource.k8s.io", "deviceclasses"): layout(_plain, "Name", "Age"),
    ("resource.k8s.io", "resourceclaims"): layout(_resource_claim, "Name", "State", "Age"),
    ("resource.k8s.io", "resourceclaimtemplates"): layout(_plain, "Name", "Age"),
    ("resource.k8s.io", "resourceslices"): layout(
        _resource_slice, "Name", "Node", "Driver", "Pool", "Age"
    ),
}  # fmt: skip
