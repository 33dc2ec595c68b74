"""Discovery documents, made from the registry: which groups, versions, resources and verbs there are.

Two forms of the same: the old one (/api, /apis, a list per group version) and the aggregated one that
clients ask
for first (apidiscovery.k8s.io). Groups come in the order in which Kubernetes' aggregator ranks them, custom
ones after them by name; versions of a group from the most to the least stable.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from cluster.api.registry import Registry
from cluster.api.resource import Resource

_RANKED: Final = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
    "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
    "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
)  # fmt: skip
_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY: Final = {"": 2, "beta": 1, "alpha": 0}
_NOT_STORED: Final = ("metrics.k8s.io",)


class Subresource(NamedTuple):
    kind: str
    """Empty for the parent's."""
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""
    """Empty for the parent's group version."""


_WRITE: Final = ("get", "patch", "update")
_CONNECT: Final = ("create", "get")
_PROXY: Final = ("create", "delete", "get", "patch", "update")
_SUBRESOURCES: Final[dict[str, Subresource]] = {
    "status": Subresource("", _WRITE),
    "scale": Subresource("Scale", _WRITE, "autoscaling", "v1"),
    "approval": Subresource("", _WRITE),
    "ephemeralcontainers": Subresource("", _WRITE),
    "resize": Subresource("", _WRITE),
    "finalize": Subresource("", ("update",)),
    "log": Subresource("", ("get",)),
    "binding": Subresource("Binding", ("create",)),
    "eviction": Subresource("Eviction", ("create",), "policy", "v1"),
    "token": Subresource("TokenRequest", ("create",), "authentication.k8s.io", "v1"),
    "exec": Subresource("PodExecOptions", _CONNECT),
    "attach": Subresource("PodAttachOptions", _CONNECT),
    "portforward": Subresource("PodPortForwardOptions", _CONNECT),
}


def subresource_of(resource: Resource, name: str) -> Subresource:
    if name == "proxy":
        return Subresource(f"{resource.kind}ProxyOptions", _PROXY)
    return _SUBRESOURCES[name]


def core_versions(server: str) -> dict[str, Any]:
    """APIVersions at /api. `server`: host and port."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    }


def groups(registry: Registry) -> dict[str, Any]:
    """APIGroupList at /apis."""
    listed = [_group(name, versions) for name, versions in _versions(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> dict[str, Any] | None:
    versions = _versions(registry).get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _versions(registry: Registry) -> dict[str, list[str]]:
    """Group → versions, both in order of preference."""
    found: dict[str, list[str]] = {}
    for resource in registry.all():
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return {name: sorted(found[name], key=version_rank) for name in sorted(found, key=_group_rank)}


def _group_rank(name: str) -> tuple[int, str]:
    return (_RANKED.index(name), "") if name in _RANKED else (-1 if not name else len(_RANKED), name)


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Stable before beta before alpha, higher numbers first, then anything else by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 1, 0, 0, version
    return -_STABILITY[match[2] or ""] - 1, -int(match[1]), -int(match[3] or 0), ""


def resources(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    """APIResourceList; None for a group version that is not served."""
    served = _served(registry, group, version)
    if not served:
        return None
    listed = [entry for resource in served for entry in _entries(registry, resource)]
    head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group else {})
    return {**head, "groupVersion": served[0].api_version, "resources": listed}


def _served(registry: Registry, group: str, version: str) -> list[Resource]:
    found = [r for r in registry.all() if r.group == group and r.version == version]
    return sorted(found, key=lambda resource: resource.plural)


def _entries(registry: Registry, resource: Resource) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "get" in resource.verbs and resource.group not in _NOT_STORED:
        entry["storageVersionHash"] = storage_version_hash(registry.storage_of(resource))
    yield entry
    for name in sorted(resource.subresources):
        yield _subresource_entry(resource, name)


def _subresource_entry(resource: Resource, name: str) -> dict[str, Any]:
    facts = subresource_of(resource, name)
    entry: dict[str, Any] = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if facts.version:
        entry |= {"group": facts.group, "version": facts.version}
    return entry | {"kind": facts.kind or resource.kind, "verbs": list(facts.verbs)}


def storage_version_hash(resource: Resource) -> str:
    """Changes with the group, version or kind in which objects are stored; clients compare it only."""
    name = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(name.encode()).digest()[:8]).decode()


def aggregated(registry: Registry, root: str, version: str = "v2") -> dict[str, Any]:
    """APIGroupDiscoveryList for "api" or "apis"."""
    items = [
        _aggregated_group(registry, name, versions)
        for name, versions in _versions(registry).items()
        if bool(name) is (root == "apis")
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_group(registry: Registry, name: str, versions: Iterable[str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(r) for r in _served(registry, name, version)],
                "freshness": "Current",
            }
            for version in versions
        ],
    }


def _aggregated_resource(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_sub(resource, name) for name in sorted(resource.subresources)]
    return entry


def _aggregated_sub(resource: Resource, name: str) -> dict[str, Any]:
    facts = subresource_of(resource, name)
    group, version = (facts.group, facts.version) if facts.version else (resource.group, resource.version)
    return {
        "subresource": name,
        "responseKind": _kind(group, version, facts.kind or resource.kind),
        "verbs": list(facts.verbs),
    }


def _kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}
