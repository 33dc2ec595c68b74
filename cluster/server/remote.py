"""`ApiClient` over HTTPS, from a kubeconfig: how scenarios and tools reach a cluster.

Any Kubernetes API server will do. Connections are kept and shared; a watch has one of its own.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import aiohttp
import orjson
import yaml

from cluster.api.client import EventType, PatchType, Propagation, WatchEvent
from cluster.api.errors import ApiError, ServiceUnavailable
from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource

Batches: TypeAlias = AsyncIterator[list[WatchEvent]]

CONNECTIONS = 100
_JSON = "application/json"
_EVENT_LIMIT = 4 * 1024 * 1024
"""Bytes of one watch event: an object has at most 3 MiB."""


class RemoteClient:
    """Implements `cluster.api.client.ApiClient`. An asynchronous context manager: leaving it closes the
    connections, also those of the clients made by `as_user`."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        token: str = "",
        name: str = "kubemu",
        impersonate: str = "",
    ) -> None:
        """`tls`: None for the system's certificate authorities. `name`: the field manager of writes."""
        self._url = url.rstrip("/")
        self._tls = tls
        self._token = token
        self._name = name
        self._impersonate = impersonate
        self._shared = _Session(self._url, tls)

    @classmethod
    def from_kubeconfig(cls, path: Path, *, name: str = "kubemu") -> Self:
        """The current context of a kubeconfig. Raises OSError, ValueError."""
        config = yaml.safe_load(path.read_bytes())
        if not isinstance(config, dict) or "clusters" not in config:
            raise ValueError(f"{path} is not a kubeconfig")
        context = _named(config, "contexts", config.get("current-context", ""))["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        return cls(cluster["server"], tls=_tls(cluster, user), token=user.get("token", ""), name=name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._shared.close()

    def as_user(self, name: str) -> RemoteClient:
        """The same connections; requests impersonate `name`, which the real user must be allowed to."""
        client = RemoteClient(
            self._url, tls=self._tls, token=self._token, name=name.rpartition(":")[2], impersonate=name
        )
        client._shared = self._shared
        return client

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object:
        return await self._json("GET", resource.path(namespace, name, subresource))

    async def document(self, path: str) -> Object:
        """A document that is no resource, such as /version or kubemu's own below /kubemu/v1/."""
        return await self._json("GET", path)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        answer = await self._json("GET", resource.path(namespace), query)
        items = answer["items"] or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ObjectList(items=items, revision=answer["metadata"].get("resourceVersion", ""))

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        revision: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Batches:
        while True:
            query = _query(
                watch="true",
                allowWatchBookmarks="true",
                resourceVersion=revision,
                labelSelector=label_selector,
                fieldSelector=field_selector,
            )
            async with self._shared.request(
                "GET", resource.path(namespace), query, self._headers(), timeout_s=None
            ) as response:
                await _checked(response)
                async for events in _events(response):
                    revision = events[-1].object["metadata"]["resourceVersion"]
                    told = [event for event in events if event.type is not EventType.BOOKMARK]
                    if told:
                        yield told

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        if not namespace and resource.namespaced:
            namespace = body.get("metadata", {}).get("namespace", "")
        path = resource.path(namespace, name if subresource else "", subresource)
        return await self._json("POST", path, self._managed(), body)

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._json("PUT", path, self._managed(), body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        query = self._managed()
        if kind is PatchType.APPLY and force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        return await self._json("PATCH", path, query, patch, content_type=kind.value)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        revision: str = "",
        grace_period_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> Object:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        preconditions = _query(uid=uid, resourceVersion=revision)
        if preconditions:
            options["preconditions"] = preconditions
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if propagation is not None:
            options["propagationPolicy"] = propagation
        return await self._json("DELETE", resource.path(namespace, name), {}, options)

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        query = _query(container=container, previous="true" if previous else "")
        if tail is not None:
            query["tailLines"] = str(tail)
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
        async with self._shared.request("GET", path, query, self._headers()) as response:
            await _checked(response)
            return (await response.read()).decode(errors="replace")

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = _JSON,
    ) -> Object:
        headers = self._headers()
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        async with self._shared.request(method, path, query or {}, headers, data) as response:
            await _checked(response)
            answer: Object = orjson.loads(await response.read())
            return answer

    def _managed(self) -> dict[str, str]:
        return {"fieldManager": self._name}

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": _JSON, "User-Agent": self._name}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._impersonate:
            headers["Impersonate-User"] = self._impersonate
            headers["Impersonate-Group"] = "system:masters"
        return headers


class _Session:
    """The connections, opened with the first request (the library wants a running loop)."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        data: bytes | None = None,
        *,
        timeout_s: float | None = 60.0,
    ) -> _Request:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls if self._tls is not None else True, limit=CONNECTIONS
            )
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=_EVENT_LIMIT)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        url = f"{self._url}{quote(path, safe='/:')}"
        return _Request(
            self._session.request(method, url, params=query, headers=headers, data=data, timeout=timeout)
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Request:
    """One request; a server that can't be reached is an ApiError too."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            response: aiohttp.ClientResponse = await self._context.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnavailable(f"the API can't be reached: {error or 'time-out'}") from error
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._context.__aexit__(kind, error, traceback)
        if isinstance(error, (aiohttp.ClientError, TimeoutError)):
            raise ServiceUnavailable(f"the connection to the API broke: {error}") from error


async def _checked(response: aiohttp.ClientResponse) -> None:
    """Raises the ApiError of a failed request."""
    if response.status < 400:
        return
    text = await response.read()
    try:
        status = orjson.loads(text)
    except orjson.JSONDecodeError:
        status = {"message": text.decode(errors="replace").strip(), "code": response.status}
    raise ApiError.from_status(status)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[list[WatchEvent]]:
    """The events of a watch in the batches in which they arrive."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        events = [_event(line) for line in lines if line]
        if events:
            yield events


def _event(line: bytes) -> WatchEvent:
    parsed = orjson.loads(line)
    if parsed["type"] == "ERROR":
        raise ApiError.from_status(parsed["object"])
    return WatchEvent(EventType(parsed["type"]), parsed["object"], "")


def _query(**parameters: str) -> dict[str, str]:
    return {key: value for key, value in parameters.items() if value}


def _named(config: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: dict[str, Any] = entry
            return found
    raise ValueError(f"the kubeconfig has no entry {name!r} in {section}")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https"):
        return None
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=_decoded(cluster, "certificate-authority-data"),
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate"):
        context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    elif user.get("client-certificate-data"):
        _load_chain(context, user)
    return context


def _load_chain(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    """The TLS library reads a client's certificate from files only."""
    with TemporaryDirectory() as folder:
        certificate, key = Path(folder, "client.crt"), Path(folder, "client.key")
        certificate.write_text(_decoded(user, "client-certificate-data") or "")
        key.touch(mode=0o600)
        key.write_text(_decoded(user, "client-key-data") or "")
        context.load_cert_chain(certificate, key)


def _decoded(entry: Mapping[str, Any], field: str) -> str | None:
    encoded = entry.get(field)
    return b64decode(encoded).decode() if encoded else None
