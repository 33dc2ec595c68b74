"""The servers of aggregated APIs, as the APIService objects name them: which there are, and how to reach one.

A request for a group version asks this table whether somebody else answers it; with no APIService that names
a Service, the table is empty, and that question is one look at an empty dict.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import aiohttp

from cluster.api.kinds import API_SERVICES
from cluster.api.objects import Key, Object
from cluster.server.aggregation.front_proxy import FrontProxy, headers_of
from cluster.server.call import User
from cluster.server.webhooks.reach import Reach
from cluster.store.store import Store

GroupVersion = tuple[str, str]


@dataclass(slots=True, kw_only=True)
class Backend:
    name: str
    """The APIService's."""
    spec: Mapping[str, Any]
    available: bool
    resources: list[Object] = field(default_factory=list)
    """The APIResourceList's entries, as it last gave them."""
    openapi: str = ""
    """Where its OpenAPI v3 document is; empty if it has none."""

    @property
    def group_version(self) -> GroupVersion:
        return self.spec.get("group", ""), self.spec["version"]

    @property
    def root(self) -> str:
        group, version = self.group_version
        return f"/apis/{group}/{version}" if group else f"/api/{version}"

    @property
    def server_name(self) -> str:
        """What the certificate must be for."""
        service = self.spec["service"]
        return f"{service['name']}.{service['namespace']}.svc"

    @property
    def port(self) -> int:
        port: int = self.spec["service"].get("port", 443)
        return port


class Backends:
    def __init__(self, store: Store, front_proxy: FrontProxy | None, reach: Reach) -> None:
        self._store = store
        self._reach = reach
        self._front_proxy = front_proxy
        self._session: aiohttp.ClientSession | None = None
        self.table: dict[GroupVersion, Backend] = {}
        self.generation = 0
        """Changes with what discovery says of them."""

    def refresh(self) -> None:
        """Takes the APIService objects in as they are now."""
        if not self.table and not self._store.count(API_SERVICES.qualified):
            return
        table: dict[GroupVersion, Backend] = {}
        for entry in self._store.list(API_SERVICES.qualified):
            spec = entry.object["spec"]
            if not spec.get("service"):
                continue
            made = Backend(name=entry.key.name, spec=spec, available=_is_available(entry.object))
            known = self.table.get(made.group_version)
            if known is not None:
                made.resources, made.openapi = known.resources, known.openapi
            table[made.group_version] = made
        if table != self.table:
            self.table = table
            self.generation += 1

    def learned(self, backend: Backend, resources: list[Object], openapi: str) -> None:
        """What a backend serves."""
        current = self.table.get(backend.group_version)
        if current is not None and (current.resources, current.openapi) != (resources, openapi):
            current.resources, current.openapi = resources, openapi
            self.generation += 1

    def address(self, backend: Backend) -> AbstractAsyncContextManager[str]:
        """Host and port of a ready endpoint, as long as the context lasts. Raises Unreachable."""
        service = backend.spec["service"]
        endpoint = self._reach.endpoint(service["namespace"], service["name"], backend.port)
        return self._reach.address(endpoint)

    def shown_url(self, backend: Backend) -> str:
        """The root of the API as messages name it: by the Service's address."""
        service = backend.spec["service"]
        entry = self._store.get("services", Key(service["namespace"], service["name"]))
        host = (entry.object["spec"].get("clusterIP") if entry is not None else "") or backend.server_name
        return f"https://{host}:{backend.port}{backend.root}"

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False, timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    @asynccontextmanager
    async def get(self, backend: Backend, path: str, user: User) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET in this user's name. Raises Unreachable, aiohttp.ClientError, OSError."""
        async with (
            self.address(backend) as address,
            self.session().get(
                f"https://{address}{path}",
                headers=[*headers_of(user), ("Accept", "application/json")],
                ssl=self.trust(backend),
                server_hostname=backend.server_name,
                allow_redirects=False,
            ) as response,
        ):
            yield response

    def trust(self, backend: Backend) -> ssl.SSLContext:
        """How to check its certificate, and which one to show."""
        bundle: str = backend.spec.get("caBundle", "")
        return _context(bundle, bool(backend.spec.get("insecureSkipTLSVerify")), self._front_proxy)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _is_available(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


@lru_cache(maxsize=64)
def _context(bundle: str, insecure: bool, proxy: FrontProxy | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=b64decode(bundle).decode() if bundle else None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if proxy is not None:
        context.load_cert_chain(proxy.certificate, proxy.key)
    return context
