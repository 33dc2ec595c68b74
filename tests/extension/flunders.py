"""A small aggregated API: flunders of wardle.example.com, kept in memory, as a server of its own would serve them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web
from own_server import SERVICE, OwnServer

from cluster.api.kinds import API_SERVICES
from cluster.api.objects import Object

GROUP, VERSION = "wardle.example.com", "v1alpha1"
NAME = f"{VERSION}.{GROUP}"
ROOT = f"/apis/{GROUP}/{VERSION}"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
SERVICES = API_SERVICES.path()
RESOURCES = [
    {
        "name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "shortNames": ["fl"],
        "verbs": ["create", "delete", "get", "list", "watch"],
    },
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]  # fmt: skip


class Flunders:
    """Remembers how the last request came: headers, and the name in the client's certificate."""

    def __init__(self, own: OwnServer) -> None:
        self.objects: dict[str, Object] = {}
        self.headers: list[tuple[str, str]] = []
        self.client = ""
        self.healthy = True
        own.handlers[ROOT] = self._root
        own.handlers[FLUNDERS] = self._collection
        own.handlers[f"{ROOT}/flunders"] = self._collection

    async def _root(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.healthy:
            return web.Response(status=500)
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
        return web.json_response({**body, "resources": RESOURCES})

    async def _collection(self, request: web.BaseRequest) -> web.StreamResponse:
        self.headers = [
            (name, value) for name, value in request.headers.items() if name.startswith("X-Remote")
        ]
        certificate: Any = request.get_extra_info("peercert") or {}
        names = [
            value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"
        ]
        self.client = "".join(names)
        if request.method == "POST":
            obj = orjson.loads(await request.read())
            obj["apiVersion"], obj["kind"] = f"{GROUP}/{VERSION}", "Flunder"
            self.objects[obj["metadata"]["name"]] = obj
            return web.json_response(obj, status=201)
        if "watch" in request.query:
            return await self._watch(request)
        items = list(self.objects.values())
        head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "FlunderList", "metadata": {}}
        return web.json_response({**head, "items": items})

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        """Each object as an event of its own, a little apart."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for obj in self.objects.values():
            await response.write(orjson.dumps({"type": "ADDED", "object": obj}) + b"\n")
            await asyncio.sleep(0.01)
        await response.write_eof()
        return response


def api_service(bundle: str = "", **service: Any) -> Object:
    trust: Object = {"caBundle": bundle} if bundle else {"insecureSkipTLSVerify": True}
    return {
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 2000, "versionPriority": 200, **trust,
            "service": {"namespace": "default", "name": SERVICE, "port": 7443, **service},
        },
    }  # fmt: skip
