"""PersistentVolume, PersistentVolumeClaim, StorageClass."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.validation import formats
from cluster.api.validation.report import POSITIVE, Report
from cluster.api.validation.selectors import validate_label_selector, validate_node_selector
from cluster.api.validation.storage_drivers import validate_parameters, validate_provisioner
from cluster.api.validation.volumes import validate_host_path

_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_MODES = ("Block", "Filesystem")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_SOURCES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume",
    "flocker", "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk",
    "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
)  # fmt: skip


def validate_volume(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_access_modes(spec, report, "")
    capacity = spec.get("capacity")
    if not capacity:
        report.required("spec.capacity")
    elif "storage" not in capacity or len(capacity) > 1:
        report.unsupported("spec.capacity", capacity, ("storage",))
    for name, amount in (capacity or {}).items():
        if parse(amount).nanos <= 0:
            report.invalid(f"spec.capacity[{name}]", amount, POSITIVE)
    report.one_of(
        "spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), _RECLAIM_POLICIES,
        needed=False,
    )  # fmt: skip
    if required := (spec.get("nodeAffinity") or {}).get("required"):
        validate_node_selector(required, "spec.nodeAffinity.required", report)
    elif "nodeAffinity" in spec:
        report.required("spec.nodeAffinity.required", "must specify required node constraints")
    sources = [name for name in spec if name in _SOURCES]
    for extra in sources[1:]:
        report.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    if not sources:
        report.required("spec", "must specify a volume type")
    elif sources[0] == "hostPath":
        validate_host_path(spec["hostPath"], "spec.hostPath", report)
    elif sources[0] == "local":
        if not spec["local"].get("path"):
            report.required("spec.local.path")
        if "nodeAffinity" not in spec:
            report.required("spec.nodeAffinity", "Local volume requires node affinity")
    if (name := spec.get("storageClassName")) and (wrong := formats.dns_subdomain(name)):
        report.invalid_each("spec.storageClassName", name, wrong)
    report.one_of("spec.volumeMode", spec.get("volumeMode"), _VOLUME_MODES, needed=False)


def _validate_access_modes(spec: Object, report: Report, detail: str) -> None:
    modes = spec.get("accessModes") or ()
    if not modes:
        report.required("spec.accessModes", detail)
    for mode in modes:
        if mode not in _ACCESS_MODES:
            report.unsupported("spec.accessModes", mode, _ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        report.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


def validate_volume_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] == old["spec"]:
        return
    validate_volume(new, report)
    source, former = ({k: v for k, v in obj["spec"].items() if k in _SOURCES} for obj in (new, old))
    if source != former:
        report.forbidden(
            "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
        )
    report.immutable("spec.volumeMode", new["spec"].get("volumeMode"), old["spec"].get("volumeMode"))


def validate_claim(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    _validate_access_modes(spec, report, "at least 1 access mode is required")
    if selector := spec.get("selector"):
        validate_label_selector(selector, "spec.selector", report)
    amount = (spec.get("resources") or {}).get("requests", {}).get("storage")
    if amount is None:
        report.required("spec.resources[storage]")
    elif parse(amount).nanos <= 0:
        report.invalid("spec.resources[storage]", amount, POSITIVE)
    if (name := spec.get("storageClassName")) and (wrong := formats.dns_subdomain(name)):
        report.invalid_each("spec.storageClassName", name, wrong)
    report.one_of("spec.volumeMode", spec.get("volumeMode"), _VOLUME_MODES, needed=False)


def validate_claim_update(new: Object, old: Object, report: Report) -> None:
    """The volume's name is filled in once; a bound claim may grow."""
    spec, former = new["spec"], old["spec"]
    if spec == former:
        return
    validate_claim(new, report)
    free = {"resources", "volumeAttributesClassName"}
    if not former.get("volumeName"):
        free.add("volumeName")
    if former.get("storageClassName") is None:
        free.add("storageClassName")
    if _without(spec, free) != _without(former, free):
        report.forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
            "bound claims\n",
        )
        return
    before = parse((former.get("resources") or {}).get("requests", {}).get("storage", "0"))
    after = parse((spec.get("resources") or {}).get("requests", {}).get("storage", "0"))
    if after != before and (old.get("status") or {}).get("phase") != "Bound":
        report.forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
            "bound claims\n",
        )
    elif after < before:
        capacity = (old.get("status") or {}).get("capacity", {}).get("storage")
        if capacity is None or after <= parse(capacity):
            report.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _without(spec: Object, fields: set[str]) -> Object:
    return {name: value for name, value in spec.items() if name not in fields}


def validate_storage_class(obj: Object, report: Report) -> None:
    provisioner = obj.get("provisioner", "")
    validate_provisioner(provisioner, "provisioner", report)
    validate_parameters(obj.get("parameters") or {}, "parameters", report, needed=False)
    report.one_of("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"), needed=False)
    report.one_of("volumeBindingMode", obj.get("volumeBindingMode"), _BINDING_MODES)


def validate_storage_class_update(new: Object, old: Object, report: Report) -> None:
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(field) or None) != (old.get(field) or None):
            report.forbidden(field, f"updates to {field} are forbidden.")
    report.immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))
    validate_storage_class(new, report)
