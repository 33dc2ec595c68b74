"""The verbs' door to what the API knows of types: decoding, defaults, validation, ownership of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cluster.api.errors import Cause
from cluster.api.objects import Object
from cluster.api.resource import Resource


def decode(resource: Resource, body: Object, mode: str) -> tuple[Object, list[str]]:
    if find_spec("cluster.api.structure") is None:
        return body, []
    found: tuple[Object, list[str]] = import_module("cluster.api.structure").decode(resource, body, mode)
    return found


def default(resource: Resource, obj: Object) -> None:
    if find_spec("cluster.api.defaults") is not None:
        import_module("cluster.api.defaults").apply(resource, obj)


def creation_errors(resource: Resource, obj: Object) -> Sequence[Cause]:
    if find_spec("cluster.api.validation") is None:
        return ()
    found: Sequence[Cause] = import_module("cluster.api.validation").validate_create(resource, obj)
    return found


def update_errors(resource: Resource, new: Object, old: Mapping[str, Any]) -> Sequence[Cause]:
    if find_spec("cluster.api.validation") is None:
        return ()
    found: Sequence[Cause] = import_module("cluster.api.validation").validate_update(resource, new, old)
    return found
