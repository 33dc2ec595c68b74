"""A namespace of one test, and the API in it by plural: what the conformance tests are written with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from live_server import LiveServer, Reply

WITHIN_S = 10.0


async def eventually(look: Callable[[], Any], what: str = "") -> Any:
    """The first true result of `look`, which may be a coroutine function."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WITHIN_S
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < deadline, f"never came: {what or look}"
        await asyncio.sleep(0.01)


class Namespace:
    def __init__(self, live: LiveServer, name: str) -> None:
        self.live = live
        self.name = name

    @classmethod
    async def new(cls, live: LiveServer) -> Namespace:
        reply = await live.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "conf-"}})
        name = reply.expect(201)["metadata"]["name"]
        made = cls(live, name)
        account = made.path("api/v1", "serviceaccounts", "default")

        async def there() -> bool:
            return (await live.get(account)).status == 200

        await eventually(there, "the default service account")
        return made

    async def remove(self) -> None:
        await self.live.call("DELETE", f"/api/v1/namespaces/{self.name}")

    def path(self, version: str, plural: str, name: str = "", subresource: str = "") -> str:
        """`version` as in a path: api/v1, apis/apps/v1."""
        parts = [version, "namespaces", self.name, plural, name, subresource]
        return "/" + "/".join(part for part in parts if part)

    async def create(self, version: str, plural: str, body: dict[str, Any], code: int = 201) -> Any:
        return (await self.live.call("POST", self.path(version, plural), body)).expect(code)

    async def get(self, version: str, plural: str, name: str = "", query: str = "", code: int = 200) -> Any:
        return (await self.live.get(self.path(version, plural, name) + query)).expect(code)

    async def merge(
        self, version: str, plural: str, name: str, patch: Any, subresource: str = "", code: int = 200
    ) -> Any:
        return (await merged(self.live, self.path(version, plural, name, subresource), patch)).expect(code)

    async def delete(self, version: str, plural: str, name: str, options: Any = None, code: int = 200) -> Any:
        return (await self.live.call("DELETE", self.path(version, plural, name), options)).expect(code)


async def merged(live: LiveServer, path: str, patch: Any) -> Reply:
    headers = {"Content-Type": "application/merge-patch+json"}
    return await live.call("PATCH", path, data=orjson.dumps(patch), headers=headers)


@asynccontextmanager
async def watching(live: LiveServer, path: str, **query: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Events of a watch, decoded."""
    parameters = {"watch": "true", "timeoutSeconds": "10", **query}
    async with live.session(live.pki.admin.certificate, live.pki.admin.key).get(
        live.url + path, params=parameters
    ) as response:
        assert response.status == 200, await response.text()
        yield _events(response)


async def _events(response: Any) -> AsyncIterator[Any]:
    async for line in response.content:
        yield orjson.loads(line)


async def next_event(events: AsyncIterator[Any], kind: str, name: str = "") -> Any:
    """The object of the next event of this type (about this object)."""
    while True:
        event = await asyncio.wait_for(anext(events), WITHIN_S)
        if event["type"] == kind and (not name or event["object"]["metadata"].get("name") == name):
            return event["object"]
