"""What drivers of storage declare: CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment,
VolumeAttributesClass."""

from __future__ import annotations

from typing import Any

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.validation import formats
from cluster.api.validation.report import IMMUTABLE, NOT_NEGATIVE, Report
from cluster.api.validation.selectors import validate_label_selector

_PARAMETERS_COUNT, _PARAMETERS_SIZE = 512, 256 * 1024
_NODE_ID_LENGTH = 256
_MESSAGE_LIMIT = 1024
_FS_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES = ("Persistent", "Ephemeral")
_SHORTEST_TOKEN_S, _LONGEST_TOKEN_S = 600, 1 << 32
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def validate_driver_name(name: str, path: str, report: Report) -> None:
    """Of CSI drivers and of drivers for devices."""
    if not name:
        report.required(path)
    if len(name) > 63:
        report.too_long(path, 63)
    report.invalid_each(path, name, formats.dns_subdomain(name.lower()))


def validate_provisioner(name: str, path: str, report: Report) -> None:
    if not name:
        report.required(path)
    else:
        report.invalid_each(path, name.lower(), formats.qualified_name(name.lower()))


def validate_parameters(parameters: dict[str, str], path: str, report: Report, *, needed: bool) -> None:
    if len(parameters) > _PARAMETERS_COUNT:
        report.too_long(path, _PARAMETERS_COUNT)
        return
    if "" in parameters:
        report.invalid(path, "", "field can not be empty.")
    if sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items()) > _PARAMETERS_SIZE:
        report.too_long(path, _PARAMETERS_SIZE)
    if needed and not parameters:
        report.required(path, "must contain at least one key/value pair")


def validate_csi_driver(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    for field, path in (
        ("attachRequired", "spec.attachedRequired"),  # the path as Kubernetes spells it
        ("podInfoOnMount", "spec.podInfoOnMount"),
        ("storageCapacity", "spec.storageCapacity"),
    ):
        if spec.get(field) is None:
            report.required(path)
    report.one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), _FS_GROUP_POLICIES, needed=False)
    audiences: set[str] = set()
    for index, request in enumerate(spec.get("tokenRequests") or ()):
        here, audience = f"spec.tokenRequests[{index}]", request.get("audience", "")
        if audience in audiences:
            report.duplicate(f"{here}.audience", audience)
            continue
        audiences.add(audience)
        if (seconds := request.get("expirationSeconds")) is not None:
            validate_token_duration(seconds, f"{here}.expirationSeconds", report)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE_MODES:
            report.unsupported("spec.volumeLifecycleModes", mode, _LIFECYCLE_MODES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        why = "must be greater than or equal to 10 seconds"
        report.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)


def validate_token_duration(seconds: int, path: str, report: Report) -> None:
    if seconds < _SHORTEST_TOKEN_S:
        report.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > _LONGEST_TOKEN_S:
        report.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def validate_csi_driver_update(new: Object, old: Object, report: Report) -> None:
    validate_csi_driver(new, report)
    spec, former = new["spec"], old["spec"]
    report.immutable("spec.attachedRequired", spec.get("attachRequired"), former.get("attachRequired"))
    field = "volumeLifecycleModes"
    report.immutable(f"spec.{field}", spec.get(field), former.get(field))


def validate_csi_node(obj: Object, report: Report) -> None:
    names: set[str] = set()
    for index, driver in enumerate(obj["spec"].get("drivers") or ()):
        here, name, node = f"spec.drivers[{index}]", driver["name"], driver.get("nodeID", "")
        validate_driver_name(name, f"{here}.name", report)
        if not node:
            report.required(f"{here}.nodeID")
        if len(node) > _NODE_ID_LENGTH:
            report.invalid(f"{here}.nodeID", node, f"must be {_NODE_ID_LENGTH} characters or less")
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None:
            report.not_negative(f"{here}.allocatable.count", count)
        if name in names:
            report.duplicate(f"{here}.name", name)
        names.add(name)
        keys = driver.get("topologyKeys") or ()
        for position, key in enumerate(keys):
            if not key:
                report.required(here)
            if key in keys[:position]:
                report.duplicate(here, key)
            report.invalid_each(here, key, formats.qualified_name(key))


def validate_csi_node_update(new: Object, old: Object, report: Report) -> None:
    validate_csi_node(new, report)
    former = {driver["name"]: driver for driver in old["spec"].get("drivers") or ()}
    for driver in new["spec"].get("drivers") or ():
        before = former.get(driver["name"])
        if before is not None and _fixed(driver) != _fixed(before):
            report.invalid("spec.drivers", driver, IMMUTABLE)


def _fixed(driver: Object) -> dict[str, Any]:
    return {name: value for name, value in driver.items() if name != "allocatable"}


def validate_storage_capacity(obj: Object, report: Report) -> None:
    if selector := obj.get("nodeTopology"):
        validate_label_selector(selector, "nodeTopology", report)
    name = obj.get("storageClassName", "")
    report.invalid_each("storageClassName", name, formats.dns_subdomain(name))
    capacity = obj.get("capacity")
    if capacity is not None and parse(capacity).nanos < 0:
        report.invalid("capacity", capacity, NOT_NEGATIVE)


def validate_storage_capacity_update(new: Object, old: Object, report: Report) -> None:
    for field in ("nodeTopology", "storageClassName"):
        report.immutable(field, new.get(field), old.get(field))


def validate_volume_attachment(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    attacher, source = spec.get("attacher", ""), spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if not attacher:
        report.required("spec.attacher")
    if name is None and inline is None:
        report.required("spec.source", _ONE_SOURCE)
    elif name is not None and inline is not None:
        report.forbidden("spec.source", _ONE_SOURCE)
    elif name == "":
        why = "must specify non empty persistentVolumeName"
        report.required("spec.source.persistentVolumeName", why)
    node = spec.get("nodeName", "")
    report.invalid_each("spec.nodeName", node, formats.dns_subdomain(node))
    validate_driver_name(attacher, "spec.attacher", report)
    if name is not None:
        report.invalid_each("spec.source.persistentVolumeName", name, formats.dns_subdomain(name))


def validate_volume_attachment_update(new: Object, old: Object, report: Report) -> None:
    if new["spec"] != old["spec"]:
        report.invalid("spec", new["spec"], IMMUTABLE)


def validate_volume_attachment_status(new: Object, old: Object, report: Report) -> None:
    status = new.get("status") or {}
    for field in ("attachError", "detachError"):
        if len((status.get(field) or {}).get("message", "")) > _MESSAGE_LIMIT:
            report.too_long(f"status.{field}.message", _PARAMETERS_SIZE)


def validate_attributes_class(obj: Object, report: Report) -> None:
    validate_provisioner(obj.get("driverName", ""), "driverName", report)
    validate_parameters(obj.get("parameters") or {}, "parameters", report, needed=True)


def validate_attributes_class_update(new: Object, old: Object, report: Report) -> None:
    for field in ("driverName", "parameters"):
        if (new.get(field) or None) != (old.get(field) or None):
            report.forbidden(field, f"updates to {field} are forbidden.")
    validate_attributes_class(new, report)
