"""The scale subresource: a Scale object that is a window on spec.replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replaced
from typing import Any

from cluster.api import errors
from cluster.api.objects import Object
from cluster.api.selectors import of_map, of_object_form
from cluster.server.call import Call
from cluster.server.verbs import reading, writing
from cluster.server.verbs.environment import Environment
from cluster.store.entry import Entry

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get(env: Environment, call: Call) -> Entry:
    return _view(await reading.get(env, replaced(call, subresource="")))


async def update(env: Environment, call: Call, body: Object) -> Entry:
    """Takes a Scale; resourceVersion in it is a precondition."""
    metadata = body.get("metadata") or {}
    if metadata.get("name", call.name) != call.name:
        raise errors.BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    replicas = (body.get("spec") or {}).get("replicas", 0)
    _check_replicas(call, replicas)

    def scaled(current: Object) -> Object:
        new = {**current, "metadata": dict(current["metadata"])}
        new["spec"] = {**current.get("spec", {}), "replicas": replicas}
        for name in ("resourceVersion", "uid"):
            if metadata.get(name):
                new["metadata"][name] = metadata[name]
        return new

    return _view(await writing.replace(env, call, scaled))


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


def _view(entry: Entry) -> Entry:
    obj = entry.object
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    spec, status = obj.get("spec", {}), obj.get("status", {})
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {"replicas": status.get("replicas", 0)},
    }
    selector = _selector(obj["kind"], spec.get("selector"))
    if selector:
        scale["status"]["selector"] = selector
    return Entry(entry.qualified, entry.key, scale, entry.revision)


def _selector(kind: str, selector: Mapping[str, Any] | None) -> str:
    if not selector:
        return ""
    return str(of_map(selector) if kind == "ReplicationController" else of_object_form(selector))
