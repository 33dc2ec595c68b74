"""What an endpoint does not take from an applied configuration: the fields that its strategy resets.

The main endpoint does not write the status, /status writes little else, and each other subresource its own
part. A manager that applies such fields nevertheless does not come to own them, nor does it meet a conflict
over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cluster.api.objects import Object
from cluster.api.resource import Resource

_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "generateName")
_RESIZED: Final = ("name", "resources", "resizePolicy")
_OF_STATUS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "pods": (("metadata", "ownerReferences"), ("metadata", "deletionTimestamp")),
    "deployments.apps": (("metadata", "labels"),),
    "certificatesigningrequests.certificates.k8s.io": (("status", "conditions"),),
}
"""Besides the spec: what a status update of the kind leaves alone."""


def taken(config: Mapping[str, Any], resource: Resource, subresource: str, *, custom: bool = False) -> Object:
    """The configuration without what this endpoint resets. Shares parts with it."""
    if subresource == "status":
        return _status(config, resource, custom=custom)
    if subresource in _PARTS:
        return _PARTS[subresource](config)
    if not subresource and "status" in resource.subresources and "status" in config:
        return {name: value for name, value in config.items() if name != "status"}
    return dict(config)


def _status(config: Mapping[str, Any], resource: Resource, *, custom: bool) -> Object:
    if custom:
        return {**_head(config), **({"status": config["status"]} if "status" in config else {})}
    kept = {name: value for name, value in config.items() if name not in ("spec", "data")}
    for parent, name in _OF_STATUS.get(resource.qualified, ()):
        kept = _without(kept, parent, name)
    return kept


def _head(config: Mapping[str, Any]) -> Object:
    metadata = config.get("metadata") or {}
    named = {name: metadata[name] for name in _IDENTITY if name in metadata}
    head: Object = {name: config[name] for name in ("apiVersion", "kind") if name in config}
    return {**head, "metadata": named}


def _without(config: Mapping[str, Any], parent: str, name: str) -> Object:
    part = config.get(parent)
    if not isinstance(part, Mapping) or name not in part:
        return dict(config)
    return {**config, parent: {key: value for key, value in part.items() if key != name}}


def _approval(config: Mapping[str, Any]) -> Object:
    return _without(
        {name: value for name, value in config.items() if name != "spec"}, "status", "certificate"
    )


def _ephemeral(config: Mapping[str, Any]) -> Object:
    spec = config.get("spec") or {}
    kept = {"ephemeralContainers": spec["ephemeralContainers"]} if "ephemeralContainers" in spec else {}
    return {**_head(config), "spec": kept}


def _resize(config: Mapping[str, Any]) -> Object:
    spec = config.get("spec") or {}
    kept = {
        field: [{name: one[name] for name in _RESIZED if name in one} for one in spec[field]]
        for field in ("containers", "initContainers")
        if isinstance(spec.get(field), list)
    }
    return {**_head(config), "spec": kept}


_PARTS: Final[dict[str, Callable[[Mapping[str, Any]], Object]]] = {
    "approval": _approval,
    "ephemeralcontainers": _ephemeral,
    "resize": _resize,
}
