"""The verbs' door to what the API knows of types: decoding, defaults, validation, ownership of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cluster.api import structure
from cluster.api.errors import Cause
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.server.call import Call


def decode(call: Call, body: Any) -> Object:
    """A private, canonical copy of a body. What comes from inside the process is not scolded for unknown
    fields. Raises BadRequest."""
    if call.trusted:
        return structure.canonical(call.resource, body)
    obj, warnings = structure.decode(call.resource, body, call.field_validation, duplicates=call.duplicates)
    call.warnings.extend(warnings)
    return obj


def decode_status(call: Call, body: Object) -> Object:
    """What a status update reads of a body: metadata and status."""
    part = {name: body[name] for name in ("apiVersion", "kind", "metadata", "status") if name in body}
    return structure.canonical(call.resource, part)


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
