"""Whether an object says something that makes sense, in Kubernetes' words if it doesn't.

Objects come in canonical form and with defaults (see `structure` and `defaults`), so that types are right
and zero values are absent. One module per group of kinds; `tables` says which functions belong to a kind.
"""

from __future__ import annotations

from cluster.api.errors import Cause
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.validation.metadata import validate_metadata, validate_metadata_update
from cluster.api.validation.report import Report
from cluster.api.validation.tables import (
    ON_CREATE,
    ON_EPHEMERAL_CONTAINERS_UPDATE,
    ON_STATUS_UPDATE,
    ON_UPDATE,
)

__all__ = ["validate_create", "validate_update"]


def validate_create(resource: Resource, obj: Object) -> list[Cause]:
    """What is wrong with a new object; name generation has been done. In the order of Kubernetes."""
    report = Report()
    validate_metadata(resource, obj, report)
    if (validate := ON_CREATE.get(resource.schema)) is not None:
        validate(obj, report)
    return report.causes


def validate_update(resource: Resource, new: Object, old: Object, subresource: str = "") -> list[Cause]:
    """What is wrong with a change. `new` has its resourceVersion. With subresource "status" only what
    belongs to the status is looked at, with any other only the metadata."""
    report = Report()
    validate_metadata_update(new, old, report)
    if (validate := _TABLES.get(subresource, {}).get(resource.schema)) is not None:
        validate(new, old, report)
    elif not subresource and (create := ON_CREATE.get(resource.schema)) is not None:
        create(new, report)
    return report.causes


_TABLES = {
    "": ON_UPDATE,
    "status": ON_STATUS_UPDATE,
    "ephemeralcontainers": ON_EPHEMERAL_CONTAINERS_UPDATE,
}
