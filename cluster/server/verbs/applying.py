"""Server-side apply: a PATCH that says what its manager wants, and creates what is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api import errors
from cluster.api.apply import apply
from cluster.api.objects import Key, Object, copy_of, timestamp
from cluster.server.call import Call
from cluster.server.verbs import schema, writing
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.narrowing import Narrow
from cluster.store.entry import Entry


async def apply_patch(env: Environment, call: Call, config: Any, narrow: Narrow, *, force: bool) -> Entry:
    """`narrow`: what of the merged object the endpoint may change."""
    if not call.field_manager:
        raise _required_manager()
    if not isinstance(config, Mapping):
        raise errors.BadRequest("error decoding YAML: the body is not an object")
    _check_name(call, config)
    strategy = env.strategy(call.resource)
    key = Key(call.namespace if call.resource.namespaced else "", call.name)
    if env.store.get(strategy.qualified, key) is None:
        return await _create(env, call, config, force=force)
    return await writing.replace(
        env, call, lambda live: narrow(live, applied(env, call, live, config, force=force)), tracked=True
    )


async def _create(env: Environment, call: Call, config: Mapping[str, Any], *, force: bool) -> Entry:
    strategy = env.strategy(call.resource)
    if call.subresource:
        raise errors.not_found(strategy.resource, call.name)
    uid = (config.get("metadata") or {}).get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(strategy.resource, call.name, why)
    made = applied(env, call, None, config, force=force)
    return await writing.create_object(env, call, made, tracked=True)


def applied(
    env: Environment, call: Call, live: Object | None, config: Mapping[str, Any], *, force: bool
) -> Object:
    """The merged object, private and complete."""
    strategy = env.strategy(call.resource)
    result = apply(
        call.resource,
        live,
        copy_of(config),
        manager=call.field_manager,
        now=timestamp(env.clock.now()),
        force=force,
        subresource=call.subresource,
        type_=strategy.type,
    )
    made = schema.decode(call, strategy, result)
    schema.default(call, strategy, made)
    return made


def _check_name(call: Call, config: Mapping[str, Any]) -> None:
    metadata = config.get("metadata") or {}
    name = metadata.get("name", call.name)
    if name != call.name:
        raise errors.BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )
    if call.resource.namespaced and metadata.get("namespace", call.namespace) != call.namespace:
        raise errors.BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _required_manager() -> errors.Invalid:
    message = "Required value: is required for apply patch"
    return errors.Invalid(
        f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {message}',
        details={"group": "meta.k8s.io", "kind": "PatchOptions"},
        causes=(errors.Cause("FieldValueRequired", message, "fieldManager"),),
    )
