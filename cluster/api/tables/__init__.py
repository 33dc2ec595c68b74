"""Server-side tables: what `kubectl get` prints, made by the server from the objects.

`table` and `row` are pure: ages are counted to the `now` they are given. Objects in rows are, by the client's
`includeObject`, left out, reduced to their metadata (the default) or whole. Also here:
PartialObjectMetadata, the
other reduced form that clients ask for through the Accept header.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.tables import access, core, custom, network, pods, storage, workloads
from cluster.api.tables.columns import Layout, human_duration

__all__ = [
    "META",
    "Include",
    "Layout",
    "human_duration",
    "layout_of",
    "partial_metadata",
    "partial_metadata_list",
    "row",
    "table",
]

Include = Literal["None", "Metadata", "Object"]

_LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("", "pods"): pods.PODS,
    **core.LAYOUTS,
    **workloads.LAYOUTS,
    **network.LAYOUTS,
    **storage.LAYOUTS,
    **access.LAYOUTS,
}
META: Final = "meta.k8s.io/v1"


def layout_of(
    resource: Resource,
    printer_columns: Sequence[Mapping[str, Any]] | None = None,
    *,
    subresource: str = "",
) -> Layout:
    """The table's form for one resource. `printer_columns`: a CRD version's, None for built-in kinds."""
    if subresource == "scale":
        return workloads.SCALE
    if printer_columns is not None:
        return custom.layout_of(printer_columns)
    return _LAYOUTS.get((resource.group, resource.plural), access.CREATED)


def table(
    layout: Layout,
    objects: Iterable[Object],
    *,
    now: datetime,
    include: Include = "Metadata",
    columns: bool = True,
    revision: str = "",
    continue_token: str = "",
    remaining: int | None = None,
) -> Object:
    """The Table. `columns=False` leaves the definitions out: every event of a watch but the first."""
    metadata: dict[str, Any] = {"resourceVersion": revision}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": metadata,
        "columnDefinitions": [column.as_json() for column in layout.columns] if columns else [],
        "rows": [row(layout, obj, now=now, include=include) for obj in objects],
    }


def row(layout: Layout, obj: Object, *, now: datetime, include: Include = "Metadata") -> Object:
    made: Object = {"cells": layout.cells(obj, now)}
    if layout is pods.PODS and (conditions := pods.row_conditions(obj)):
        made["conditions"] = conditions
    match include:
        case "None":
            made["object"] = None
        case "Metadata":
            made["object"] = partial_metadata(obj)
        case "Object":
            made["object"] = obj
    return made


def partial_metadata(obj: Mapping[str, Any]) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": obj["metadata"]}


def partial_metadata_list(
    objects: Iterable[Object], *, revision: str = "", continue_token: str = "", remaining: int | None = None
) -> Object:
    metadata: dict[str, Any] = {"resourceVersion": revision}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": META,
        "metadata": metadata,
        "items": [partial_metadata(obj) for obj in objects],
    }
