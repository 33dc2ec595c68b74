"""Patch: the current version with a change applied, then the same path as an update."""

from __future__ import annotations

from typing import Any

from cluster.api import errors
from cluster.api.client import PatchType
from cluster.api.objects import Object
from cluster.api.patch import json_patch, merge_patch_object, strategic_merge_patch
from cluster.server.call import Call
from cluster.server.verbs import scale, schema, subresources, writing
from cluster.server.verbs.applying import apply_patch
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.narrowing import whole
from cluster.store.entry import Entry


async def patch(env: Environment, call: Call, kind: PatchType, patch: Any, *, force: bool) -> Entry:
    strategy = env.strategy(call.resource)
    if kind is PatchType.STRATEGIC and strategy.custom:
        raise errors.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
    if call.subresource == "scale":
        return await _patch_scale(env, call, kind, patch, force=force)
    narrow = whole if call.subresource in ("", "status") else subresources.narrowed(env, call)
    if kind is PatchType.APPLY:
        return await apply_patch(env, call, patch, narrow, force=force)
    return await writing.replace(
        env, call, lambda current: narrow(current, _changed(env, call, kind, current, patch))
    )


async def _patch_scale(env: Environment, call: Call, kind: PatchType, patch: Any, *, force: bool) -> Entry:
    """Its patch applies to another object than the parent."""
    if kind is PatchType.APPLY:
        return await scale.apply(env, call, patch, force=force)
    for _ in range(writing.WRITE_ATTEMPTS):
        view = await subresources.get(env, call)
        scaled = schema.decode_subresource(call, patched(call, kind, view.object, patch))
        try:
            return await subresources.update(env, call, scaled)
        except errors.Conflict:
            if scaled["metadata"].get("resourceVersion") != view.object["metadata"]["resourceVersion"]:
                raise  # the patch itself asks for a version
    raise errors.conflict(call.resource, call.name)


def patched(call: Call, kind: PatchType, current: Object, patch: Any) -> Object:
    """The patch applied; may share parts with `current`."""
    result: Object
    if kind is PatchType.JSON:
        result = json_patch(current, patch)
    elif kind is PatchType.STRATEGIC:
        result = strategic_merge_patch(call.resource, current, patch)
    else:
        result = merge_patch_object(current, patch)
    return result


def _changed(env: Environment, call: Call, kind: PatchType, current: Object, patch: Any) -> Object:
    result = patched(call, kind, current, patch)
    if call.trusted and call.subresource == "status":
        return schema.decode_status(call, env.strategy(call.resource), result)
    result = schema.decode(call, env.strategy(call.resource), result)
    metadata = result.get("metadata")
    if not isinstance(metadata, dict):
        raise errors.BadRequest("metadata must be an object")
    if metadata.get("name") != call.name:
        raise errors.BadRequest(
            f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL "
            f"({call.name})"
        )
    if call.resource.namespaced and metadata.get("namespace") != call.namespace:
        raise errors.BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    schema.default(call, env.strategy(call.resource), result)
    return result
