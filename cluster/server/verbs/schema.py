"""The verbs' door to what the API knows of types: decoding, defaults, validation, ownership of fields.

Custom resources bring their own type, which the strategy carries; built-in ones are known by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from cluster.api import defaults, facts, kinds, managed, structure, validation
from cluster.api.errors import Cause
from cluster.api.objects import Object, timestamp
from cluster.server.call import Call
from cluster.server.strategy import Strategy
from cluster.server.verbs.environment import Environment


def decode(call: Call, strategy: Strategy, body: Any) -> Object:
    """A private, canonical copy of a body. What comes from inside the process is not scolded for unknown
    fields. Raises BadRequest."""
    mode = "Ignore" if call.trusted else call.field_validation
    obj, warnings = structure.decode(
        call.resource, body, mode, duplicates=call.duplicates, type_=strategy.type
    )
    call.warnings.extend(warnings)
    return obj


_OTHER_KINDS = {
    "binding": ("core", "v1", "Binding"),
    "eviction": ("policy", "policy/v1", "Eviction"),
    "scale": ("autoscaling", "autoscaling/v1", "Scale"),
    "token": ("authentication", "authentication.k8s.io/v1", "TokenRequest"),
}
"""Subresources whose bodies are of another kind: package, apiVersion and kind."""


def decode_subresource(call: Call, body: Any) -> Object:
    """A body for a subresource or for a kind that is only posted, checked if it comes from outside. Raises
    BadRequest."""
    if call.trusted:
        return cast(Object, body)
    if call.subresource in _OTHER_KINDS:
        package, api_version, kind = _OTHER_KINDS[call.subresource]
        type_ = facts.type_named(f"io.k8s.api.{package}.v1.{kind}")
    elif call.resource is kinds.BINDINGS:
        type_, api_version, kind = facts.of(kinds.BINDINGS), "v1", "Binding"
    else:
        return cast(Object, body)
    mode = call.field_validation
    made, warnings = structure.decode(
        call.resource, body, mode, duplicates=call.duplicates, type_=type_, kind=kind, api_version=api_version
    )
    call.warnings.extend(warnings)
    made.setdefault("metadata", {})
    return made


def decode_status(call: Call, strategy: Strategy, body: Object) -> Object:
    """What a status update reads of a body: metadata and status. Ownership goes on from the stored version,
    so what the body says of it need not be copied."""
    part = {name: body[name] for name in ("apiVersion", "kind", "metadata", "status") if name in body}
    if "managedFields" in body["metadata"]:
        part["metadata"] = {n: value for n, value in body["metadata"].items() if n != "managedFields"}
    return structure.decode(call.resource, part, "Ignore", type_=strategy.type)[0]


def default(call: Call, strategy: Strategy, obj: Object) -> None:
    """In place."""
    defaults.apply(call.resource, obj, strategy.type)


def creation_errors(call: Call, strategy: Strategy, obj: Object) -> Sequence[Cause]:
    causes = validation.validate_create(strategy.resource, obj, call.resource)
    return causes if strategy.kind is None else [*causes, *strategy.kind.validate(obj, None)]


def update_errors(call: Call, strategy: Strategy, new: Object, old: Mapping[str, Any]) -> Sequence[Cause]:
    causes = validation.validate_update(strategy.resource, new, dict(old), call.subresource, call.resource)
    return causes if strategy.kind is None else [*causes, *strategy.kind.validate(new, old)]


def track(
    env: Environment, call: Call, strategy: Strategy, new: Object, old: Mapping[str, Any] | None
) -> None:
    """Records in `new` what the caller changed relative to `old` (metadata.managedFields)."""
    managed.track(
        call.resource,
        new,
        old,
        manager=call.field_manager,
        now=timestamp(env.clock.now()),
        subresource=call.subresource,
        type_=strategy.type,
    )
