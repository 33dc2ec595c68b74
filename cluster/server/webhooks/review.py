"""AdmissionReview: what a webhook is told, and what its answer means."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import orjson

from cluster.api.discovery import subresource_of
from cluster.api.errors import ApiError
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.custom.conversion import in_version
from cluster.server.verbs import scale

_OPTIONS = {
    Operation.CREATE: "CreateOptions",
    Operation.UPDATE: "UpdateOptions",
    Operation.DELETE: "DeleteOptions",
}


class BadAnswer(Exception):
    """The webhook's answer is none."""


def attributes_of(request: Request, version: Resource) -> Object:
    """The request without the objects, as reviews and expressions show it. `version`: the matched one."""
    asked = request.call.resource
    subresource = request.subresource
    made: Object = {
        "kind": _kind(version, subresource),
        "resource": _resource(version),
        "requestKind": _kind(asked, subresource),
        "requestResource": _resource(asked),
        "name": request.name,
        "operation": request.operation.value,
        "userInfo": _user(request),
        "dryRun": request.call.dry_run,
        "options": _options(request),
    }
    if subresource:
        made["subResource"] = made["requestSubResource"] = subresource
    if request.namespace:
        made["namespace"] = request.namespace
    elif request.qualified == "namespaces" and request.operation is not Operation.CREATE:
        made["namespace"] = request.name
    return made


async def review_of(setting: Setting, request: Request, version: Resource, uid: str) -> Object:
    obj, old = await objects_of(setting, request, version)
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            **attributes_of(request, version),
            "object": obj,
            "oldObject": old,
        },
    }


async def objects_of(
    setting: Setting, request: Request, version: Resource
) -> tuple[Object | None, Object | None]:
    """The new and the old object in the version that somebody wants to see."""
    if request.operation is Operation.CONNECT or request.subresource in _OWN_OBJECTS:
        return request.object, None
    obj = await in_version(setting.registry, request.object, version) if request.object else None
    old = await in_version(setting.registry, dict(request.old), version) if request.old is not None else None
    if request.subresource != "scale":
        return obj, old
    registry = setting.registry
    return (
        None if obj is None else scale.shown(registry, version, obj),
        None if old is None else scale.shown(registry, version, old),
    )


_OWN_OBJECTS = ("binding", "eviction")
"""Subresources whose requests are objects of a kind of their own."""


def _kind(resource: Resource, subresource: str) -> dict[str, str]:
    """Of the object that is sent, which for some subresources is another one than the parent."""
    found = subresource_of(resource, subresource) if subresource else None
    if found is None or not found.kind:
        return {"group": resource.group, "version": resource.version, "kind": resource.kind}
    group, version = (found.group, found.version) if found.version else (resource.group, resource.version)
    return {"group": group, "version": version, "kind": found.kind}


def _resource(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _user(request: Request) -> Object:
    user = request.call.user
    made: Object = {"username": user.name}
    if user.uid:
        made["uid"] = user.uid
    made["groups"] = list(user.groups)
    if user.extra:
        made["extra"] = {name: list(values) for name, values in user.extra.items()}
    return made


def _options(request: Request) -> Object | None:
    kind = _OPTIONS.get(request.operation)
    if kind is None:
        return None
    options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if request.call.dry_run:
        options["dryRun"] = ["All"]
    return {**options, **request.options}


def response_of(name: str, answer: Any, uid: str) -> Mapping[str, Any]:
    """The answer's response. Raises BadAnswer."""
    if not isinstance(answer, Mapping) or answer.get("kind") != "AdmissionReview":
        raise BadAnswer("expected response of kind AdmissionReview in version admission.k8s.io/v1")
    response = answer.get("response")
    if not isinstance(response, Mapping):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    return response


def patch_of(response: Mapping[str, Any]) -> Any:
    """The JSON patch; None if there is none. Raises BadAnswer."""
    text = response.get("patch")
    if not text:
        return None
    if response.get("patchType") != "JSONPatch":
        raise BadAnswer(
            "webhook returned response.patch but not response.patchType"
            if not response.get("patchType")
            else f'invalid webhook response patchType "{response["patchType"]}"'
        )
    try:
        return orjson.loads(b64decode(text))
    except ValueError as error:
        raise BadAnswer(f"patch can't be decoded: {error}") from None


def refusal(name: str, response: Mapping[str, Any]) -> ApiError:
    """A denied request, with the code and reason that the webhook chose."""
    result: Mapping[str, Any] = response.get("status") or {}
    said = result.get("message") or result.get("reason")
    head = f'admission webhook "{name}" denied the request'
    message = f"{head}: {said}" if said else f"{head} without explanation"
    code = result.get("code") or 0
    return error_of(message, max(code, 400), result.get("reason", ""), result.get("details"))


def error_of(message: str, code: int, reason: str, details: Mapping[str, Any] | None = None) -> ApiError:
    """An error whose code and reason others chose: they need not be a known pair."""
    kind: type[ApiError] = type("ChosenError", (ApiError,), {"code": code, "reason": reason})
    return kind(message, details=details)
