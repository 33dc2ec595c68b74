"""Everything below an object's own endpoint that is not status: a table of small handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace as replaced

from cluster.api import errors, validation
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object
from cluster.server.call import Call
from cluster.server.verbs import pods, reading, scale, writing
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.metadata import check_target
from cluster.server.verbs.narrowing import NARROW, Narrow
from cluster.store.entry import Entry

Handler = Callable[[Environment, Call, Object], Awaitable[Entry]]


async def get(env: Environment, call: Call) -> Entry:
    if call.subresource == "scale":
        return await scale.get(env, call)
    return await reading.get(env, replaced(call, subresource=""))


async def create(env: Environment, call: Call, body: Object) -> Entry:
    """POST to a subresource, or to a kind that is an answer to a question."""
    qualified = env.strategy(call.resource).qualified
    if not call.subresource:
        return await _review(env, call, qualified, body)
    handler = _CREATE.get((qualified, call.subresource))
    if handler is not None:
        return await handler(env, call, body)
    hook = env.hooks.get((qualified, call.subresource))
    if hook is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    parent = env.store.get(qualified, Key(call.namespace, call.name))
    if parent is None:
        raise errors.not_found(call.resource, call.name)
    answer = await hook(call, parent, body)
    return Entry(qualified, parent.key, answer, parent.revision)


async def _review(env: Environment, call: Call, qualified: str, body: Object) -> Entry:
    if qualified == "bindings":
        name = (body.get("metadata") or {}).get("name", "")
        return await pods.bind(env, replaced(call, name=name, subresource="binding", resource=PODS), body)
    reviewer = env.reviewers.get(qualified)
    if reviewer is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    obj = writing.taken_in(env, call, body)
    if call.namespace:
        obj["metadata"].setdefault("namespace", call.namespace)
    if causes := validation.validate_review(call.resource, obj):
        raise errors.invalid(call.resource, "", causes)
    return Entry(qualified, Key("", ""), await reviewer(call, obj), 0)


async def update(env: Environment, call: Call, body: Object) -> Entry:
    """PUT to a subresource other than status."""
    if call.subresource == "scale":
        return await scale.update(env, call, body)
    narrow = narrowed(env, call)
    wanted = writing.taken_in(env, call, body)
    check_target(call, wanted["metadata"])
    return await writing.replace(env, call, lambda current: narrow(current, wanted))


def narrowed(env: Environment, call: Call) -> Narrow:
    """What an update or a patch through this subresource may change. Raises MethodNotAllowed."""
    narrow = NARROW.get((env.strategy(call.resource).qualified, call.subresource))
    if narrow is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    return narrow


_CREATE: dict[tuple[str, str], Handler] = {
    ("pods", "binding"): pods.bind,
    ("pods", "eviction"): pods.evict,
}
