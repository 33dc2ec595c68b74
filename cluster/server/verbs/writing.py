"""Create and replace: the one path that every write of an object takes.

Nothing here awaits between reading the current version and storing the new one unless webhooks are
configured, so in the usual case a write can't meet another one half-way; with webhooks the store refuses
the write as stale and it is prepared again from the new version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from cluster.api import errors
from cluster.api.kinds import LEASES
from cluster.api.objects import Key, Object, copy_of
from cluster.server.admission.request import Operation, Request
from cluster.server.call import Call
from cluster.server.strategy import Strategy, grown_generation, keep_status, status_update
from cluster.server.verbs import schema
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.metadata import (
    check_target,
    check_versions,
    deduplicate_owners,
    fill_new,
    generated_name,
    keep_system_fields,
    require_revision,
)
from cluster.server.verbs.renewing import renewed
from cluster.store.entry import Entry
from cluster.store.store import Overloaded, Stale

ACCOUNT_ATTEMPTS = 10
ACCOUNT_RETRY_S = 0.1
NAME_ATTEMPTS = 8
"""How often a generated name is drawn before the collision is reported."""
WRITE_ATTEMPTS = 8
"""How often a write is prepared anew because its object changed while webhooks were asked."""

Change = Callable[[Object], Object]
"""Makes the new version (a private object, in the call's version) from the current one."""


def taken_in(env: Environment, call: Call, body: Object) -> Object:
    """A private, structurally valid, defaulted copy of a request's body."""
    strategy = env.strategy(call.resource)
    if call.trusted and call.subresource == "status":
        return schema.decode_status(call, strategy, body)
    obj = schema.decode(call, strategy, body)
    obj.setdefault("metadata", {})
    schema.default(call, strategy, obj)
    return obj


async def create(env: Environment, call: Call, body: Object) -> Entry:
    """Stores a new object, or answers what a dry run would store."""
    return await create_object(env, call, taken_in(env, call, body))


async def create_object(env: Environment, call: Call, obj: Object, *, tracked: bool = False) -> Entry:
    """`tracked`: server-side apply has already written managedFields."""
    strategy = env.strategy(call.resource)
    metadata = obj["metadata"]
    check_target(call, metadata)
    deduplicate_owners(call, metadata)
    generated = bool(metadata.get("generateName")) and not metadata.get("name")
    fill_new(metadata, clock=env.clock, chance=env.chance)
    if strategy.empty_status is not None or (strategy.custom and strategy.status):
        obj.pop("status", None)
    if not tracked:
        schema.track(env, call, strategy, obj, None)
    obj = env.registry.convert(obj, strategy.resource)
    request = _request(Operation.CREATE, call, strategy, obj, None)
    if strategy.qualified == "pods":
        await _default_account(env, request)
    env.admission.mutate(request)
    if env.admission.mutating_webhooks is not None:
        await env.admission.mutating_webhooks(request)
    obj = request.object
    _prepare_new(strategy, obj)
    if strategy.allocates:
        env.services.allocate(obj, None)
    if causes := schema.creation_errors(call, strategy, obj):
        raise errors.invalid(strategy.resource, obj["metadata"].get("name", ""), causes)
    entry = await _store_new(env, request, strategy, generated)
    call.created = True
    return await shown(env, call, entry)


async def _default_account(env: Environment, request: Request) -> None:
    """In a new namespace the default service account comes a moment later: waits for it, not long."""
    for _ in range(ACCOUNT_ATTEMPTS):
        if not env.admission.awaits_account(request):
            return
        await asyncio.sleep(ACCOUNT_RETRY_S)


def _prepare_new(strategy: Strategy, obj: Object) -> None:
    if strategy.generation:
        obj["metadata"]["generation"] = 1
    if strategy.empty_status is not None:
        obj["status"] = dict(strategy.empty_status)
    if strategy.prepare_create is not None:
        strategy.prepare_create(obj)


async def _store_new(env: Environment, request: Request, strategy: Strategy, generated: bool) -> Entry:
    obj, call = request.object, request.call
    metadata = obj["metadata"]
    key = Key(metadata.get("namespace", ""), metadata["name"])
    attempt = 1
    while (found := env.store.get(strategy.qualified, key)) is not None:
        if not generated or attempt == NAME_ATTEMPTS:
            await env.store.durable(found.revision)  # it may yet turn out that it does not exist
            raise errors.already_exists(strategy.resource, key.name)
        attempt += 1
        metadata["name"] = generated_name(metadata["generateName"], env.chance)
        key = Key(key.namespace, metadata["name"])
    request.name = key.name
    if env.admission.validating_webhooks is not None:
        await env.admission.validating_webhooks(request)
    env.admission.validate(request)
    if strategy.kind is not None:
        obj = await _stored_form(env, strategy, obj)
    if call.dry_run:
        return Entry(strategy.qualified, key, obj, 0)
    try:
        entry = env.store.put(strategy.qualified, key, obj, None)
    except Stale:
        raise errors.already_exists(strategy.resource, key.name) from None
    except Overloaded as overload:
        raise overloaded(overload) from None
    await env.store.durable(entry.revision)
    return entry


async def update(env: Environment, call: Call, body: Object) -> Entry:
    """Replaces an object; creates it where the kind allows."""
    if (entry := await _renew(env, call, body)) is not None:
        return entry
    obj = taken_in(env, call, body)
    check_target(call, obj["metadata"])
    strategy = env.strategy(call.resource)
    key = Key(call.namespace if call.resource.namespaced else "", call.name)
    if env.store.get(strategy.qualified, key) is None:
        if strategy.create_on_update and not call.subresource:
            return await create_object(env, call, obj)
        raise errors.not_found(strategy.resource, call.name)
    if not strategy.unconditional_update:
        require_revision(strategy.resource, obj["metadata"], call.name)
    return await replace(
        env, call, lambda _: obj if env.admission.mutating_webhooks is None else copy_of(obj)
    )


async def _renew(env: Environment, call: Call, body: Object) -> Entry | None:
    """The short way of `renewing`, where nobody else has a say in the write."""
    if call.resource is not LEASES or env.admission.mutating_webhooks or env.admission.validating_webhooks:
        return None
    current = env.store.get(LEASES.qualified, Key(call.namespace, call.name))
    if current is None or (new := renewed(env, call, body, current)) is None:
        return None
    strategy = env.strategy(LEASES)
    return await _store_update(
        env, _request(Operation.UPDATE, call, strategy, new, current.object), strategy, current
    )


async def replace(env: Environment, call: Call, change: Change, *, tracked: bool = False) -> Entry:
    """Stores what `change` makes of the current version; again if that changed meanwhile."""
    strategy = env.strategy(call.resource)
    key = Key(call.namespace if call.resource.namespaced else "", call.name)
    for _ in range(WRITE_ATTEMPTS):
        current = env.store.get(strategy.qualified, key)
        if current is None:
            raise errors.not_found(strategy.resource, call.name)
        view = (await shown(env, call, current)).object
        new = change(view)
        check_versions(strategy.resource, key.namespace, new["metadata"], current.object["metadata"])
        request = _prepared(env, call, strategy, new, view, current, tracked)
        if env.admission.mutating_webhooks is not None:
            await env.admission.mutating_webhooks(request)
        try:
            entry = await _store_update(env, request, strategy, current)
        except Stale:
            continue
        return await shown(env, call, entry)
    raise errors.conflict(strategy.resource, call.name)


def _prepared(
    env: Environment,
    call: Call,
    strategy: Strategy,
    new: Object,
    view: Mapping[str, Any],
    current: Entry,
    tracked: bool,
) -> Request:
    """The request with the new version in its stored form, up to the mutating steps."""
    if call.subresource == "status":
        new = status_update(strategy, new, view)
    elif strategy.status and not call.subresource:
        keep_status(new, view)
    metadata = new["metadata"]
    keep_system_fields(metadata, view["metadata"])
    metadata["resourceVersion"] = current.object["metadata"]["resourceVersion"]
    deduplicate_owners(call, metadata)
    if not tracked:
        schema.track(env, call, strategy, new, view)
    new = env.registry.convert(new, strategy.resource)
    old = current.object if strategy.kind is None else view
    request = _request(Operation.UPDATE, call, strategy, new, old)
    env.admission.mutate(request)
    return request


async def _store_update(env: Environment, request: Request, strategy: Strategy, current: Entry) -> Entry:
    call, new, old = request.call, request.object, request.old
    assert old is not None
    if strategy.allocates and not call.subresource:
        env.services.allocate(new, old)
    if strategy.prepare_update is not None and not call.subresource:
        strategy.prepare_update(new, old)
    if new == current.object:
        await env.store.durable(current.revision)
        return current
    if strategy.generation and call.subresource != "status" and grown_generation(strategy, new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
    if causes := schema.update_errors(call, strategy, new, old):
        raise errors.invalid(strategy.resource, call.name, causes)
    if env.admission.validating_webhooks is not None:
        await env.admission.validating_webhooks(request)
    env.admission.validate(request)
    if strategy.kind is not None:
        new = await _stored_form(env, strategy, new)
        if new == current.object:
            await env.store.durable(current.revision)
            return current
    if call.dry_run:
        return Entry(strategy.qualified, current.key, new, current.revision)
    try:
        if ends_with(new):
            entry = env.store.remove(current, new)
        else:
            entry = env.store.put(strategy.qualified, current.key, new, current)
    except Overloaded as overload:
        raise overloaded(overload) from None
    await env.store.durable(entry.revision)
    return entry


def ends_with(new: Mapping[str, Any]) -> bool:
    """True for a deleted object that nothing holds back any more."""
    metadata = new["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not (new["kind"] == "Namespace" and new.get("spec", {}).get("finalizers"))
    )


async def _stored_form(env: Environment, strategy: Strategy, obj: Object) -> Object:
    """A custom object in the storage version."""
    if strategy.kind is not None and strategy.kind.conversion is not None:
        return await strategy.kind.conversion.stored(obj)
    return env.registry.convert(obj, strategy.stored)


async def shown(env: Environment, call: Call, entry: Entry) -> Entry:
    """The entry in the version that the call asked in, also where a webhook has to convert it."""
    kind = env.strategy(call.resource).kind
    if kind is None or kind.conversion is None or entry.object["kind"] != call.resource.kind:
        return served(env, call, entry)
    if call.dry_run:  # what would be stored: not to be remembered
        view = (await kind.conversion.served([entry.object]))[0]
        return Entry(entry.qualified, entry.key, view, entry.revision)
    converted: Entry = (await kind.conversion.entries([entry]))[0]
    return converted


def served(env: Environment, call: Call, entry: Entry) -> Entry:
    """The entry in the version that the call asked in."""
    read = env.view(call.resource)
    if read is None:
        return entry
    view = read(entry.object)
    return entry if view is entry.object else Entry(entry.qualified, entry.key, view, entry.revision)


def overloaded(cause: Overloaded) -> errors.TooManyRequests:
    return errors.TooManyRequests(str(cause), retry_after_s=1)


def _request(
    operation: Operation, call: Call, strategy: Strategy, obj: Object, old: Mapping[str, Any] | None
) -> Request:
    metadata = obj["metadata"]
    return Request(
        operation=operation,
        call=call,
        resource=strategy.resource,
        qualified=strategy.qualified,
        subresource=call.subresource,
        namespace=metadata.get("namespace", ""),
        name=metadata.get("name", ""),
        object=obj,
        old=old,
    )
