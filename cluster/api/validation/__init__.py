"""Whether an object says something that makes sense, in Kubernetes' words if it doesn't.

Objects come in canonical form and with defaults (see `structure` and `defaults`), so that types are right
and zero values are absent. One module per group of kinds; `tables` says which functions belong to a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from cluster.api.errors import Cause
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.validation.metadata import validate_metadata, validate_metadata_update
from cluster.api.validation.report import Report
from cluster.api.validation.tables import (
    ON_APPROVAL_UPDATE,
    ON_CREATE,
    ON_EPHEMERAL_CONTAINERS_UPDATE,
    ON_REVIEW,
    ON_STATUS_UPDATE,
    ON_UPDATE,
    OnUpdate,
)

T = TypeVar("T")

__all__ = ["validate_create", "validate_review", "validate_update"]


def validate_create(resource: Resource, obj: Object, asked: Resource | None = None) -> list[Cause]:
    """What is wrong with a new object; name generation has been done. In the order of Kubernetes. `asked`
    is the version it came in, if that is not how it is looked at: some have rules of their own."""
    report = Report()
    validate_metadata(resource, obj, report)
    if (validate := _of(ON_CREATE, resource, asked)) is not None:
        validate(obj, report)
    return report.causes


def validate_review(resource: Resource, obj: Object) -> list[Cause]:
    """What is wrong with a question."""
    report = Report()
    if (validate := ON_REVIEW.get(resource.schema)) is not None:
        validate(obj, report)
    return report.causes


def validate_update(
    resource: Resource, new: Object, old: Object, subresource: str = "", asked: Resource | None = None
) -> list[Cause]:
    """What is wrong with a change. `new` has its resourceVersion. With subresource "status" only what
    belongs to the status is looked at, with any other only the metadata."""
    report = Report()
    validate_metadata_update(new, old, report)
    if (validate := _of(_TABLES.get(subresource, {}), resource, asked)) is not None:
        validate(new, old, report)
    elif not subresource and (create := _of(ON_CREATE, resource, asked)) is not None:
        create(new, report)
    return report.causes


def _of(table: Mapping[str, T], resource: Resource, asked: Resource | None) -> T | None:
    """The validator of the version that was asked for, else of the one that the object is in."""
    return (table.get(asked.schema) if asked is not None else None) or table.get(resource.schema)


_TABLES: dict[str, dict[str, OnUpdate]] = {
    "approval": ON_APPROVAL_UPDATE,
    "": ON_UPDATE,
    "status": ON_STATUS_UPDATE,
    "ephemeralcontainers": ON_EPHEMERAL_CONTAINERS_UPDATE,
}
