"""Discovery of aggregated APIs: their groups and resources, put among the ones that are served here.

The group lists name every group version that an APIService stands for, available or not. The aggregated form
also has the resources, as the server last told them; they are marked stale while it does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.api.discovery import version_rank
from cluster.api.objects import Object
from cluster.server.aggregation.backends import Backend

_CUSTOM = 1000
"""groupPriorityMinimum of the groups of custom kinds."""


def with_groups(document: Object, backends: Sequence[Backend]) -> Object:
    """The APIGroupList with the groups of the backends."""
    groups: list[Object] = list(document["groups"])
    for name, members in _by_group(backends).items():
        place = next((i for i, group in enumerate(groups) if group["name"] == name), None)
        if place is None:
            groups.insert(_place(groups, members), _group(name, members, ()))
        else:
            groups[place] = _group(name, members, groups[place]["versions"])
    return {**document, "groups": groups}


def with_group(document: Object | None, name: str, backends: Sequence[Backend]) -> Object | None:
    """The APIGroup; None where nobody serves any version of it."""
    members = _by_group(backends).get(name)
    if members is None:
        return document
    known = document["versions"] if document is not None else ()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, members, known)}


def with_aggregated(document: Object, backends: Sequence[Backend]) -> Object:
    """The APIGroupDiscoveryList with the groups of the backends."""
    items: list[Object] = list(document["items"])
    for name, members in _by_group(backends).items():
        place = next((i for i, item in enumerate(items) if item["metadata"].get("name") == name), None)
        remote = {backend.group_version[1]: _version(backend) for backend in members}
        if place is None:
            found: Object = {"metadata": {"name": name, "creationTimestamp": None}, "versions": []}
            place = _place([item["metadata"] for item in items], members)
            items.insert(place, found)
        local = [v for v in items[place]["versions"] if v["version"] not in remote]
        ranked = sorted([*remote.values(), *local], key=lambda v: version_rank(v["version"]))
        items[place] = {**items[place], "versions": ranked}
    return {**document, "items": items}


def _by_group(backends: Iterable[Backend]) -> dict[str, list[Backend]]:
    found: dict[str, list[Backend]] = {}
    for backend in backends:
        if backend.group_version[0]:
            found.setdefault(backend.group_version[0], []).append(backend)
    return found


def _place(groups: Sequence[Mapping[str, Any]], members: Sequence[Backend]) -> int:
    """Before the groups of custom kinds, if its priority is higher than theirs, else at the end."""
    highest = max(backend.spec.get("groupPriorityMinimum", 0) for backend in members)
    if highest <= _CUSTOM:
        return len(groups)
    custom = (i for i, group in enumerate(groups) if not _is_built_in(str(group.get("name", ""))))
    return next(custom, len(groups))


def _is_built_in(group: str) -> bool:
    return "." not in group or group.endswith(".k8s.io")


def _group(name: str, members: Sequence[Backend], local: Sequence[Mapping[str, Any]]) -> Object:
    priorities = {b.group_version[1]: b.spec.get("versionPriority", 0) for b in members}
    names = [*priorities, *(v["version"] for v in local if v["version"] not in priorities)]
    names.sort(key=lambda version: (-priorities.get(version, 0), version_rank(version)))
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in names]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _version(backend: Backend) -> Object:
    group, version = backend.group_version
    found: dict[str, Object] = {}
    for resource in backend.resources:
        plural, _, subresource = str(resource["name"]).partition("/")
        kind = {
            "group": resource.get("group") or group,
            "version": resource.get("version") or version,
            "kind": resource.get("kind", ""),
        }
        verbs = list(resource.get("verbs") or ())
        if subresource:
            if plural in found:
                shown = {"subresource": subresource, "responseKind": kind, "verbs": verbs}
                found[plural].setdefault("subresources", []).append(shown)
            continue
        found[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if resource.get("namespaced") else "Cluster",
            "singularResource": resource.get("singularName", ""),
            "verbs": verbs,
        }
        for field in ("shortNames", "categories"):
            if resource.get(field):
                found[plural][field] = list(resource[field])
    freshness = "Current" if backend.available else "Stale"
    return {"version": version, "freshness": freshness} | (
        {"resources": list(found.values())} if found else {}
    )
