"""A pod's volumes. Of the many sources, those that people still use are checked in detail; of the rest only
that there is exactly one.
"""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.validation import formats
from cluster.api.validation.containers import validate_descending_path
from cluster.api.validation.environment import validate_field_reference, validate_resource_reference
from cluster.api.validation.report import NOT_NEGATIVE, Report

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
_MODE_MESSAGE = "must be a number between 0 and 0777 (octal), both inclusive"
_NEEDED: dict[str, tuple[str, ...]] = {
    "persistentVolumeClaim": ("claimName",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
    "gitRepo": ("repository",),
    "flexVolume": ("driver",),
    "azureFile": ("secretName", "shareName"),
    "awsElasticBlockStore": ("volumeID",),
    "gcePersistentDisk": ("pdName",),
    "cinder": ("volumeID",),
    "vsphereVolume": ("volumePath",),
    "glusterfs": ("endpoints", "path"),
}


def validate_volumes(volumes: list[Object], path: str, report: Report) -> frozenset[str]:
    """Gives the names that mounts may use."""
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        name = volume["name"]
        if not name:
            report.required(f"{here}.name")
        elif wrong := formats.dns_label(name):
            report.invalid_each(f"{here}.name", name, wrong)
        elif name in names:
            report.duplicate(f"{here}.name", name)
        names.add(name)
        found = ""
        for source in volume:
            if source == "name":
                continue
            if found:
                report.forbidden(f"{here}.{source}", "may not specify more than 1 volume type")
                continue
            found = source
            _validate_source(source, volume[source], f"{here}.{source}", report)
        if not found:
            report.required(here, "must specify a volume type")
    return frozenset(names)


def _validate_source(kind: str, source: Object, path: str, report: Report) -> None:
    for field in _NEEDED.get(kind, ()):
        if not source.get(field):
            report.required(f"{path}.{field}")
    match kind:
        case "secret" | "configMap":
            _validate_mode(source, "defaultMode", path, report)
            _validate_items(source, path, report)
        case "downwardAPI":
            _validate_mode(source, "defaultMode", path, report)
            _validate_downward(source, path, report)
        case "projected":
            _validate_mode(source, "defaultMode", path, report)
            _validate_projections(source, path, report)
        case "hostPath":
            validate_host_path(source, path, report)
        case "emptyDir":
            limit = source.get("sizeLimit")
            if limit is not None and parse(limit).nanos < 0:
                report.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
        case "nfs":
            if source.get("path") and not source["path"].startswith("/"):
                report.invalid(f"{path}.path", source["path"], "must be an absolute path")
        case "ephemeral":
            if not source.get("volumeClaimTemplate"):
                report.required(f"{path}.volumeClaimTemplate")


def validate_host_path(source: Object, path: str, report: Report) -> None:
    if not source["path"]:
        report.required(f"{path}.path")
    elif ".." in source["path"].split("/"):
        report.invalid(f"{path}.path", source["path"], "must not contain '..'")
    if source.get("type", "") not in _HOST_PATH_TYPES:
        report.unsupported(f"{path}.type", source["type"], _HOST_PATH_TYPES)


def _validate_mode(source: Object, field: str, path: str, report: Report) -> None:
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        report.invalid(f"{path}.{field}", mode, _MODE_MESSAGE)


def _validate_items(source: Object, path: str, report: Report) -> None:
    for index, item in enumerate(source.get("items") or ()):
        here = f"{path}.items[{index}]"
        if not item["key"]:
            report.required(f"{here}.key")
        if not item["path"]:
            report.required(f"{here}.path")
        else:
            _validate_file_path(item["path"], f"{here}.path", report)
        _validate_mode(item, "mode", here, report)


def _validate_file_path(text: str, path: str, report: Report) -> None:
    validate_descending_path(text, path, report)
    if text.startswith("..") and ".." not in text.split("/"):
        report.invalid(path, text, "must not start with '..'")


def _validate_downward(source: Object, path: str, report: Report) -> None:
    for index, item in enumerate(source.get("items") or ()):
        here = f"{path}.items[{index}]"
        if not item["path"]:
            report.required(f"{here}.path")
        else:
            _validate_file_path(item["path"], f"{here}.path", report)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            validate_field_reference(field, f"{here}.fieldRef", _FIELDS, report)
            if resource is not None:
                report.invalid(
                    here, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
                )
        elif resource is not None:
            if not resource.get("containerName"):
                report.required(f"{here}.resourceFieldRef.containerName")
            validate_resource_reference(resource, f"{here}.resourceFieldRef", report)
        else:
            report.required(here, "one of fieldRef and resourceFieldRef is required")
        _validate_mode(item, "mode", here, report)


def _validate_projections(source: Object, path: str, report: Report) -> None:
    for index, projection in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        if len(projection) > 1:
            for name in list(projection)[1:]:
                report.forbidden(f"{here}.{name}", "may not specify more than 1 volume type")
        for kind in ("secret", "configMap"):
            if (part := projection.get(kind)) is not None:
                if not part.get("name"):
                    report.required(f"{here}.{kind}.name")
                _validate_items(part, f"{here}.{kind}", report)
        if (part := projection.get("downwardAPI")) is not None:
            _validate_downward(part, f"{here}.downwardAPI", report)
        if (part := projection.get("serviceAccountToken")) is not None:
            _validate_token(part, f"{here}.serviceAccountToken", report)
        if not projection:
            report.required(here, "must specify a volume type")


def _validate_token(token: Object, path: str, report: Report) -> None:
    seconds = token.get("expirationSeconds", 3600)
    if seconds < 600:
        report.invalid(
            f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"
        )
    elif seconds > 1 << 32:
        report.invalid(
            f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
        )
    if not token["path"]:
        report.required(f"{path}.path")
    else:
        _validate_file_path(token["path"], f"{path}.path", report)


def validate_capacity(amount: str, path: str, report: Report) -> None:
    if parse(amount).nanos < 0:
        report.invalid(path, amount, NOT_NEGATIVE)
