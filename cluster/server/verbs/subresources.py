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
from cluster.store.entry import Entry

Handler = Callable[[Environment, Call, Object], Awaitable[Entry]]

PATCHED_AS_VIEW = frozenset({"scale"})
"""Subresources whose patch applies to another object than the parent."""


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
    qualified = env.strategy(call.resource).qualified
    if call.subresource == "scale":
        return await scale.update(env, call, body)
    handler = _UPDATE.get((qualified, call.subresource))
    if handler is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    return await handler(env, call, body)


async def _finalize(env: Environment, call: Call, body: Object) -> Entry:
    """Namespaces only: spec.finalizers and nothing else."""
    wanted = writing.taken_in(env, call, body)

    def finalized(current: Object) -> Object:
        finalizers = (wanted.get("spec") or {}).get("finalizers")
        metadata = dict(current["metadata"])
        for name in ("uid", "resourceVersion"):
            if wanted["metadata"].get(name):
                metadata[name] = wanted["metadata"][name]
        return {**current, "metadata": metadata, "spec": {"finalizers": finalizers} if finalizers else {}}

    return await writing.replace(env, call, finalized)


async def _approve(env: Environment, call: Call, body: Object) -> Entry:
    """Certificate signing requests: the Approved and Denied conditions."""
    wanted = writing.taken_in(env, call, body)

    def approved(current: Object) -> Object:
        conditions = (wanted.get("status") or {}).get("conditions")
        status = {name: value for name, value in current.get("status", {}).items() if name != "conditions"}
        if conditions:
            status["conditions"] = conditions
        return {**current, "metadata": dict(wanted["metadata"]), "status": status}

    return await writing.replace(env, call, approved)


_CREATE: dict[tuple[str, str], Handler] = {
    ("pods", "binding"): pods.bind,
    ("pods", "eviction"): pods.evict,
}
_UPDATE: dict[tuple[str, str], Handler] = {
    ("namespaces", "finalize"): _finalize,
    ("certificatesigningrequests.certificates.k8s.io", "approval"): _approve,
    ("pods", "ephemeralcontainers"): pods.update_ephemeral_containers,
    ("pods", "resize"): pods.resize,
}
