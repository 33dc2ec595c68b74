"""Admission of requests that are no writes of an object: connections, evictions, bindings.

Only what clients have added, webhooks and policies, looks at them. They see the object that was sent (for a
connection its options), not the parent's.
"""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.server.admission.request import Operation, Request
from cluster.server.call import Call
from cluster.server.verbs.environment import Environment


async def admit(env: Environment, call: Call, operation: Operation, obj: Object) -> Object:
    """The object as webhooks left it. Raises ApiError."""
    mutate, validate = env.admission.mutating_webhooks, env.admission.validating_webhooks
    if mutate is None and validate is None:
        return obj
    strategy = env.strategy(call.resource)
    request = Request(
        operation=operation,
        call=call,
        resource=strategy.resource,
        qualified=strategy.qualified,
        subresource=call.subresource,
        namespace=call.namespace,
        name=call.name,
        object=obj,
        old=None,
    )
    if mutate is not None:
        await mutate(request)
    if validate is not None:
        await validate(request)
    return request.object
