"""Objects as the verbs hand them to validation, and what it says of them: (field, message)."""

from __future__ import annotations

from typing import Any

from cluster.api import defaults, structure, validation
from cluster.api.objects import Object, copy_of
from cluster.api.resource import Resource


def made(resource: Resource, **parts: Any) -> Object:
    """A canonical, defaulted object with a name."""
    metadata = {"name": "x"} | ({"namespace": "default"} if resource.namespaced else {})
    metadata |= parts.pop("metadata", {})
    obj, _ = structure.decode(resource, {"metadata": metadata} | parts)
    defaults.apply(resource, obj)
    return obj


def found(resource: Resource, **parts: Any) -> list[tuple[str, str]]:
    return [(c.field, c.message) for c in validation.validate_create(resource, made(resource, **parts))]


def found_in_update(resource: Resource, old: Object, change: Any) -> list[tuple[str, str]]:
    new = copy_of(old)
    new["metadata"]["resourceVersion"] = "2"
    change(new)
    return [(c.field, c.message) for c in validation.validate_update(resource, new, old)]
