"""The sample API server of Kubernetes as an emulated image: flunders and fischers of wardle.example.com.

It serves discovery and the usual verbs over TLS: an APIService can be tried without building a server.
Objects live in memory and end with the container.

Divergence: no watch, no OpenAPI, and whoever reaches it is trusted: it does not ask for the aggregator's
certificate.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from agents import http
from agents.emulated.agnhost.netexec import tls_of
from agents.emulated.program import NOT_FOUND, Program, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, World
from cluster.api.errors import ApiError
from cluster.api.objects import Object, timestamp
from cluster.api.patch import merge_patch
from cluster.api.selectors import SelectorError, parse_labels

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

GROUP = "wardle.example.com"
VERSIONS = ("v1alpha1", "v1beta1")
KINDS = {"fischers": "Fischer", "flunders": "Flunder"}
_SERVED = {"v1alpha1": ("fischers", "flunders"), "v1beta1": ("flunders",)}
_NAMESPACED = ("flunders",)
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update"]


def sample_apiserver(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, "secure-port", "tls-cert-file", "tls-private-key-file"))

    async def start(program: Program) -> None:
        server = _Server(shell.world)
        await program.serve_http(
            int(given.get("secure-port") or 443), server.handle, tls=tls_of(shell, given)
        )
        program.log("Serving securely")

    return (yield from served(shell.world, start))


class _Refused(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class _Server:
    def __init__(self, world: World) -> None:
        self._world = world
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._revision = 0

    async def handle(self, request: http.Request) -> http.Response:
        parts = [part for part in request.path.split("/") if part]
        try:
            match parts:
                case ["healthz" | "livez" | "readyz", *_]:
                    return text("ok")
                case ["apis"]:
                    return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]})
                case ["apis", group] if group == GROUP:
                    return _json(_group())
                case ["apis", group, version, *rest] if group == GROUP and version in VERSIONS:
                    return self._resource(request, version, rest)
        except _Refused as refusal:
            return _json(_status(refusal), refusal.code)
        except ApiError as error:
            return _json(error.status(), error.code)
        return NOT_FOUND

    def _resource(self, request: http.Request, version: str, rest: list[str]) -> http.Response:
        match rest:
            case []:
                return _json(_resources(version))
            case ["namespaces", namespace, plural, *names] if plural in _NAMESPACED:
                return self._answer(request, version, plural, namespace, names)
            case [plural, *names] if plural in _SERVED[version]:
                return self._answer(request, version, plural, "", names)
        raise _Refused(404, "NotFound", "the server could not find the requested resource")

    def _answer(
        self, request: http.Request, version: str, plural: str, namespace: str, names: list[str]
    ) -> http.Response:
        match request.method, names:
            case "GET", []:
                return _json(self._list(request, version, plural, namespace))
            case "POST", []:
                return _json(self._create(_body(request), version, plural, namespace), 201)
            case "DELETE", []:
                gone = self._list(request, version, plural, namespace)
                for obj in gone["items"]:
                    meta = obj["metadata"]
                    del self._objects[plural, meta.get("namespace", ""), meta["name"]]
                return _json(gone)
            case "GET", [name]:
                return _json(self._shown(self._found(plural, namespace, name), version))
            case "PUT", [name]:
                return _json(self._replace(_body(request), version, plural, namespace, name))
            case "PATCH", [name]:
                old = self._shown(self._found(plural, namespace, name), version)
                return _json(
                    self._replace(merge_patch(old, _body(request)), version, plural, namespace, name)
                )
            case "DELETE", [name]:
                gone = self._found(plural, namespace, name)
                del self._objects[plural, namespace, name]
                details = {"name": name, "group": GROUP, "kind": plural, "uid": gone["metadata"]["uid"]}
                done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
                return _json({**done, "details": details})
        raise _Refused(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )

    def _found(self, plural: str, namespace: str, name: str) -> Object:
        found = self._objects.get((plural, namespace, name))
        if found is None:
            raise _Refused(404, "NotFound", f'{plural}.{GROUP} "{name}" not found')
        return found

    def _list(self, request: http.Request, version: str, plural: str, namespace: str) -> Object:
        query = parse_qs(urlsplit(request.target).query)
        try:
            chosen = parse_labels(query.get("labelSelector", [""])[0])
        except SelectorError as error:
            raise _Refused(400, "BadRequest", str(error)) from None
        items = [
            self._shown(obj, version)
            for (kind, place, _), obj in sorted(self._objects.items())
            if kind == plural
            and namespace in ("", place)
            and chosen.matches(obj["metadata"].get("labels") or {})
        ]
        meta = {"resourceVersion": str(self._revision)}
        kind = f"{KINDS[plural]}List"
        return {"kind": kind, "apiVersion": f"{GROUP}/{version}", "metadata": meta, "items": items}

    def _create(self, obj: Object, version: str, plural: str, namespace: str) -> Object:
        meta = obj.setdefault("metadata", {})
        name = meta.get("name") or f"{meta.get('generateName', '')}{self._revision:05d}"
        if (plural, namespace, name) in self._objects:
            raise _Refused(409, "AlreadyExists", f'{plural}.{GROUP} "{name}" already exists')
        made = {"name": name, "uid": self._uid(), "creationTimestamp": timestamp(self._world.now())}
        meta |= {**made, **({"namespace": namespace} if namespace else {})}
        return self._kept(obj, version, plural, namespace, name)

    def _replace(self, obj: Object, version: str, plural: str, namespace: str, name: str) -> Object:
        old = self._found(plural, namespace, name)["metadata"]
        meta = obj.setdefault("metadata", {})
        if meta.get("resourceVersion", old["resourceVersion"]) != old["resourceVersion"]:
            why = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            message = f'Operation cannot be fulfilled on {plural}.{GROUP} "{name}": {why}'
            raise _Refused(409, "Conflict", message)
        meta |= {key: old[key] for key in ("name", "namespace", "uid", "creationTimestamp") if key in old}
        return self._kept(obj, version, plural, namespace, name)

    def _kept(self, obj: Object, version: str, plural: str, namespace: str, name: str) -> Object:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        obj["kind"] = KINDS[plural]
        self._objects[plural, namespace, name] = obj
        return self._shown(obj, version)

    def _shown(self, obj: Object, version: str) -> Object:
        return {**obj, "apiVersion": f"{GROUP}/{version}"}

    def _uid(self) -> str:
        drawn = hashlib.blake2b(
            f"{self._world.hostname} {self._revision}".encode(), digest_size=16
        ).hexdigest()
        return "-".join((drawn[:8], drawn[8:12], drawn[12:16], drawn[16:20], drawn[20:]))


def _body(request: http.Request) -> Object:
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise _Refused(400, "BadRequest", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise _Refused(400, "BadRequest", "the body is not an object")
    return body


def _json(document: Any, status: int = 200) -> http.Response:
    headers = (("Content-Type", "application/json"),)
    return http.Response(status=status, headers=headers, body=json.dumps(document).encode())


def _status(refusal: _Refused) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(refusal),
        "reason": refusal.reason,
        "code": refusal.code,
    }


def _group() -> Object:
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in reversed(VERSIONS)]
    body = {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP}
    return {**body, "versions": versions, "preferredVersion": versions[0]}


def _resources(version: str) -> Object:
    resources = [
        {
            "name": plural,
            "singularName": plural.removesuffix("s"),
            "namespaced": plural in _NAMESPACED,
            "kind": KINDS[plural],
            "verbs": _VERBS,
        }
        for plural in _SERVED[version]
    ]
    body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{version}"}
    return {**body, "resources": resources}
