"""Custom kinds' schemas as OpenAPI documents show them."""

from __future__ import annotations

from typing import Any

from cluster.api.openapi_schemas import META, schema_name
from cluster.api.registry import Registry
from cluster.api.resource import Resource


def published_schemas(registry: Registry) -> dict[str, dict[str, Any]]:
    """By schema name, for `cluster.api.openapi`."""
    found = {}
    for resource in registry.all():
        custom = registry.custom_of(resource)
        if custom is not None:
            found[schema_name(resource)] = _published(resource, dict(custom.schema))
    return found


def _published(resource: Resource, schema: dict[str, Any]) -> dict[str, Any]:
    own = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"#/components/schemas/{META}ObjectMeta"},
    }
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return schema | {
        "type": "object",
        "properties": {**(schema.get("properties") or {}), **own},
        "x-kubernetes-group-version-kind": [kind],
    }
