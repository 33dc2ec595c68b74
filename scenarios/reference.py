"""`deployment/web` → which resource, which name: the words kubectl takes."""

from __future__ import annotations

from cluster.api.registry import Registry
from cluster.api.resource import Resource


class UnknownKind(Exception):
    """No resource goes by this word."""


def parse(registry: Registry, text: str) -> tuple[Resource, str]:
    """Resource and name of `kind/name`; the kind may be plural, singular, short or CamelCase, and may carry
    its group (`deployments.apps/web`). Raises UnknownKind."""
    kind, _, name = text.partition("/")
    word, _, group = kind.lower().partition(".")
    for resource in registry.all():
        names = (resource.plural, resource.singular, resource.kind.lower(), *resource.short_names)
        if word in names and (not group or resource.group == group):
            return resource, name
    raise UnknownKind(f"the server doesn't have a resource type {kind!r}")
