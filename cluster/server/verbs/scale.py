"""The scale subresource: a Scale object that is a window on spec.replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replaced
from typing import Any

from cluster.api import errors
from cluster.api.custom import ScalePaths
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.api.selectors import of_map, of_object_form
from cluster.server.call import Call
from cluster.server.verbs import reading, writing
from cluster.server.verbs.applying import apply_patch
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.narrowing import whole
from cluster.store.entry import Entry

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get(env: Environment, call: Call) -> Entry:
    return _view(env, call, await reading.get(env, replaced(call, subresource="")))


async def update(env: Environment, call: Call, body: Object) -> Entry:
    """Takes a Scale; resourceVersion in it is a precondition."""
    metadata = body.get("metadata") or {}
    if metadata.get("name", call.name) != call.name:
        raise errors.BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    replicas = (body.get("spec") or {}).get("replicas", 0)
    _check_replicas(call, replicas)

    paths = _paths(env.registry, call.resource)

    def scaled(current: Object) -> Object:
        new = _with({**current, "metadata": dict(current["metadata"])}, paths.replicas, replicas)
        for name in ("resourceVersion", "uid"):
            if metadata.get(name):
                new["metadata"][name] = metadata[name]
        return new

    return _view(env, call, await writing.replace(env, call, scaled))


async def apply(env: Environment, call: Call, config: Any, *, force: bool) -> Entry:
    """Server-side apply of a Scale: its manager comes to own the replicas of the object itself."""
    if not isinstance(config, Mapping) or config.get("kind") != "Scale":
        raise errors.BadRequest("error decoding YAML: the body is not a Scale")
    paths, replicas = _paths(env.registry, call.resource), (config.get("spec") or {}).get("replicas")
    parent: Object = {
        "apiVersion": call.resource.api_version,
        "kind": call.resource.kind,
        "metadata": {"name": call.name, **(config.get("metadata") or {})},
    }
    if replicas is not None:
        _check_replicas(call, replicas)
        parent = _with(parent, paths.replicas, replicas)
    return _view(env, call, await apply_patch(env, call, parent, whole, force=force))


_BUILT_IN = ScalePaths(replicas=("spec", "replicas"), status_replicas=("status", "replicas"))


def _paths(registry: Registry, resource: Resource) -> ScalePaths:
    custom = registry.custom_of(resource)
    return _BUILT_IN if custom is None or custom.scale is None else custom.scale


def _with(obj: Object, path: tuple[str, ...], value: Any) -> Object:
    """A copy, along the path, with another value at its end."""
    head, rest = path[0], path[1:]
    inner = obj.get(head)
    return obj | {head: _with(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def _at(obj: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = obj
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _check_replicas(call: Call, replicas: Any) -> None:
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise errors.BadRequest(
            'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal '
            "into Go struct field ScaleSpec.spec.replicas of type int32"
        )
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise errors.Invalid(
            f'Scale.autoscaling "{call.name}" is invalid: spec.replicas: {message}',
            details={"name": call.name, "group": "autoscaling", "kind": "Scale"},
            causes=(errors.Cause("FieldValueInvalid", message, "spec.replicas"),),
        )


def _view(env: Environment, call: Call, entry: Entry) -> Entry:
    scale = scale_of(entry.object, _paths(env.registry, call.resource))
    return Entry(entry.qualified, entry.key, scale, entry.revision)


def shown(registry: Registry, resource: Resource, obj: Object) -> Object:
    """The Scale of an object, as admission sees it."""
    return scale_of(obj, _paths(registry, resource))


def rescaled(registry: Registry, resource: Resource, obj: Object, scale: Mapping[str, Any]) -> Object:
    """A copy of the object with the replicas that a Scale asks for."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    return _with(obj, _paths(registry, resource).replicas, replicas)


def _int32(number: int) -> int:
    """A custom kind's integers may be larger than a Scale's: Go keeps the low bits."""
    return (number + 2**31) % 2**32 - 2**31


def scale_of(obj: Object, paths: ScalePaths) -> Object:
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    replicas = _at(obj, paths.replicas)
    if replicas is None and paths is not _BUILT_IN:
        raise errors.InternalError(
            f'Internal error occurred: the spec replicas field ".{".".join(paths.replicas)}" does not exist'
        )
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": _int32(replicas)} if replicas else {},
        "status": {"replicas": _int32(_at(obj, paths.status_replicas) or 0)},
    }
    if paths.selector:
        selector = str(_at(obj, paths.selector) or "")
    elif paths is _BUILT_IN:
        selector = _selector(obj["kind"], (obj.get("spec") or {}).get("selector"))
    else:
        selector = ""
    if selector:
        scale["status"]["selector"] = selector
    return scale


def _selector(kind: str, selector: Mapping[str, Any] | None) -> str:
    if not selector:
        return ""
    return str(of_map(selector) if kind == "ReplicationController" else of_object_form(selector))
