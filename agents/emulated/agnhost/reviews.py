"""agnhost's webhooks: admission of what clusters are tested with, and conversion of a custom resource.

Both answer in the version of the review that they are asked in.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from agents import http
from agents.emulated.agnhost.netexec import tls_of
from agents.emulated.program import Handler, Program, problem, routed, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import FOREVER_S, Run

if TYPE_CHECKING:
    from agents.emulated.shell import Shell
    from agents.emulated.textcommands import Command

Json: TypeAlias = dict[str, Any]
Judge: TypeAlias = Callable[[Json], Json]
"""From an admission request to the response without its uid."""

SLOW_S = 5.0
MARK = "webhook-e2e-test"
_FLAGS = ("tls-cert-file", "tls-private-key-file", "port", "sidecar-image")
ALLOWED: Json = {"allowed": True}


def _denied(**status: Any) -> Json:
    return {"allowed": False, "status": {"metadata": {}, **status}}


def _patched(*operations: Json) -> Json:
    if not operations:
        return ALLOWED
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def _subject(request: Json) -> Json:
    """The object in question: the old one where it goes away."""
    found: Json = request.get("oldObject" if request.get("operation") == "DELETE" else "object") or {}
    return found


def _labels(request: Json) -> Json:
    return _subject(request).get("metadata", {}).get("labels") or {}


def _always_deny(request: Json) -> Json:
    return _denied(message="this webhook denies all requests")


def _always_allow(request: Json) -> Json:
    return {**ALLOWED, "status": {"metadata": {}, "message": "this webhook allows all requests"}}


def _add_label(request: Json) -> Json:
    labels = _labels(request)
    if not labels:
        return _patched({"op": "add", "path": "/metadata/labels", "value": {"added-label": "yes"}})
    if labels.get("added-label") == "yes":
        return ALLOWED
    op = "replace" if "added-label" in labels else "add"
    return _patched({"op": op, "path": "/metadata/labels/added-label", "value": "yes"})


def _pods(request: Json) -> Json:
    reasons = []
    if _labels(request).get(MARK) == "webhook-disallow":
        reasons.append("the pod contains unwanted label;")
    containers = _subject(request).get("spec", {}).get("containers") or ()
    reasons += [
        "the pod contains unwanted container name;"
        for c in containers
        if "webhook-disallow" in c.get("name", "")
    ]
    return _denied(message=" ".join(reasons)) if reasons else ALLOWED


def _attaching(request: Json) -> Json:
    options = request.get("object") or {}
    if request.get("name") != "to-be-attached-pod" or not options.get("stdin"):
        return ALLOWED
    if options.get("container") != "container1":
        return ALLOWED
    return _denied(message="attaching to pod 'to-be-attached-pod' is not allowed")


def _mutate_pods(request: Json) -> Json:
    pod = request.get("object") or {}
    present = [c.get("name") for c in pod.get("spec", {}).get("initContainers") or ()]
    name = "webhook-added-init-container"
    if pod.get("metadata", {}).get("name") != "webhook-to-be-mutated" or name in present:
        return ALLOWED
    added = {"image": "webhook-added-image", "name": name, "resources": {}}
    return _patched({"op": "add", "path": "/spec/initContainers", "value": [added]})


def _add_sidecar(image: str) -> Judge:
    def judge(request: Json) -> Json:
        if not image:
            return _denied(
                status="Failure", message="No image specified by the sidecar-image parameter", code=500
            )
        containers = (request.get("object") or {}).get("spec", {}).get("containers") or ()
        name = "webhook-added-sidecar"
        if any(container.get("name") == name for container in containers):
            return ALLOWED
        added = {"image": image, "name": name, "resources": {}}
        return _patched({"op": "add", "path": "/spec/containers/-", "value": added})

    return judge


def _data(unwanted: str, kept: str) -> Judge:
    """Refuses a value on its way in, and another on its way out."""

    def judge(request: Json) -> Json:
        value = (_subject(request).get("data") or {}).get(MARK)
        operation = request.get("operation")
        if value == "webhook-disallow" and operation in ("CREATE", "UPDATE"):
            return _denied(reason=unwanted)
        if value == "webhook-nondeletable" and operation == "DELETE":
            return _denied(reason=kept)
        return ALLOWED

    return judge


def _mutate_data(request: Json) -> Json:
    data = (request.get("object") or {}).get("data") or {}
    stage = 2 if data.get("mutation-stage-1") == "yes" else 1 if data.get("mutation-start") == "yes" else 0
    if not stage:
        return ALLOWED
    return _patched({"op": "add", "path": f"/data/mutation-stage-{stage}", "value": "yes"})


def _crd(request: Json) -> Json:
    if _labels(request).get(MARK) == "webhook-disallow":
        return _denied(message="the crd contains unwanted label")
    return ALLOWED


_JUDGES: dict[str, Judge] = {
    "/add-label": _add_label,
    "/always-deny": _always_deny,
    "/configmaps": _data(
        "the configmap contains unwanted key and value",
        "the configmap cannot be deleted because it contains unwanted key and value",
    ),
    "/crd": _crd,
    "/custom-resource": _data(
        "the custom resource contains unwanted data",
        "the custom resource cannot be deleted because it contains unwanted key and value",
    ),
    "/mutating-configmaps": _mutate_data,
    "/mutating-custom-resource": _mutate_data,
    "/mutating-pods": _mutate_pods,
    "/pods": _pods,
    "/pods/attach": _attaching,
}


async def _ready(request: http.Request) -> http.Response:
    return text("ok")


def _reviewing(judge: Judge, *, slow_s: float = 0.0) -> Handler:
    async def handle(request: http.Request) -> http.Response:
        if request.header("content-type") != "application/json":
            return problem(f"contentType={request.header('content-type')}, expect application/json", 400)
        try:
            review = json.loads(request.body)
            asked: Json = review["request"]
        except (ValueError, KeyError, TypeError) as error:
            return problem(f"Request could not be decoded: {error}", 400)
        if slow_s:
            await asyncio.sleep(slow_s)
        try:
            if _labels(asked).get(MARK) == "wait-forever":
                await asyncio.sleep(FOREVER_S)
            return _reviewed(review, {"uid": asked.get("uid", ""), **judge(asked)})
        except (AttributeError, TypeError) as error:
            return problem(f"Request could not be decoded: {error}", 400)

    return handle


def _reviewed(review: Json, response: Json) -> http.Response:
    document = {"kind": review.get("kind"), "apiVersion": review.get("apiVersion"), "response": response}
    headers = (("Content-Type", "application/json"),)
    return http.Response(status=200, headers=headers, body=json.dumps(document).encode())


def _webhook(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, *_FLAGS))

    async def start(program: Program) -> None:
        routes = {path: _reviewing(judge) for path, judge in _JUDGES.items()}
        routes["/always-allow-delay-5s"] = _reviewing(_always_allow, slow_s=SLOW_S)
        routes["/mutating-pods-sidecar"] = _reviewing(_add_sidecar(given.get("sidecar-image", "")))
        routes["/readyz"] = _ready
        await program.serve_http(int(given.get("port") or 443), routed(routes), tls=tls_of(shell, given))

    return (yield from served(shell.world, start))


# --- conversion


class _Unconvertible(Exception):
    pass


def _converted(obj: Json, wanted: str) -> Json:
    """Between the two versions of the example: one has host and port apart. Raises _Unconvertible."""
    old = obj.get("apiVersion", "")
    if old == wanted:
        raise _Unconvertible(f"conversion from a version to itself should not call the webhook: {wanted}")
    new = {**obj, "apiVersion": wanted}
    match old, wanted:
        case "stable.example.com/v1", "stable.example.com/v2":
            if "hostPort" in new:
                host, colon, port = new.pop("hostPort").partition(":")
                if not colon or ":" in port:
                    raise _Unconvertible(f"invalid hostPort value `{obj['hostPort']}`")
                new["host"], new["port"] = host, port
        case "stable.example.com/v2", "stable.example.com/v1":
            if "host" in new or "port" in new:
                new["hostPort"] = f"{new.pop('host', '')}:{new.pop('port', '')}"
        case (("stable.example.com/v1" | "stable.example.com/v2"), _):
            raise _Unconvertible(f'unexpected conversion version "{wanted}"')
        case _:
            raise _Unconvertible(f'unexpected conversion version "{old}"')
    return new


async def _convert(request: http.Request) -> http.Response:
    try:
        review = json.loads(request.body)
        asked = review["request"]
    except (ValueError, KeyError, TypeError) as error:
        return problem(f"failed to deserialize body with error {error}", 400)
    response: Json = {"uid": asked.get("uid", ""), "convertedObjects": None}
    try:
        objects = [_converted(obj, asked.get("desiredAPIVersion", "")) for obj in asked.get("objects") or ()]
        response |= {"convertedObjects": objects, "result": {"metadata": {}, "status": "Success"}}
    except (_Unconvertible, AttributeError) as why:
        response["result"] = {"metadata": {}, "status": "Failure", "message": str(why)}
    return _reviewed(review, response)


def _crd_conversion_webhook(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, *_FLAGS))

    async def start(program: Program) -> None:
        routes: dict[str, Handler] = {"/crdconvert": _convert, "/readyz": _ready}
        await program.serve_http(int(given.get("port") or 443), routed(routes), tls=tls_of(shell, given))

    return (yield from served(shell.world, start))


COMMANDS: dict[str, Command] = {"crd-conversion-webhook": _crd_conversion_webhook, "webhook": _webhook}
