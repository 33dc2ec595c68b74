"""Calls to servers that a configuration names, by URL or by Service, over HTTPS with the bundle it gives."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson

from cluster.api.objects import Key
from cluster.store.store import Store

ANSWER_LIMIT = 8 * 1024 * 1024
_SLICES = "endpointslices.discovery.k8s.io"


class CallFailed(Exception):
    """No usable answer; the text says why."""


class Caller(Protocol):
    async def post(self, client: Mapping[str, Any], body: Any, timeout_s: float) -> Any:
        """Sends JSON to the server of a WebhookClientConfig and gives the JSON it answers with.
        Raises CallFailed."""

    async def close(self) -> None: ...


class HttpsCaller:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, client: Mapping[str, Any], body: Any, timeout_s: float) -> Any:
        shown = _with_timeout(shown_url(client), timeout_s)
        try:
            url, host = self._where(client)
            async with asyncio.timeout(timeout_s):
                return await self._post(url, host, client.get("caBundle", ""), body, timeout_s)
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ssl.SSLError, CallFailed) as error:
            raise CallFailed(f'Post "{shown}": {error}') from None
        except ValueError as error:
            raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from None

    def _where(self, client: Mapping[str, Any]) -> tuple[str, str]:
        """The URL to connect to, and the name that the certificate must be for."""
        if url := client.get("url"):
            return url, urlsplit(url).hostname or ""
        service = client["service"]
        address = address_of(self._store, service["namespace"], service["name"], service.get("port", 443))
        return f"https://{address}{service.get('path', '/')}", f"{service['name']}.{service['namespace']}.svc"

    async def _post(self, url: str, host: str, bundle: str, body: Any, timeout_s: float) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.post(
            _with_timeout(url, timeout_s),
            data=orjson.dumps(body),
            headers={"Content-Type": "application/json", "Accept": "application/json, */*"},
            ssl=_context(bundle),
            server_hostname=host,
        ) as response:
            answer = await response.content.read(ANSWER_LIMIT)
            if response.status != 200:
                text = answer.decode(errors="replace").strip()
                raise CallFailed(text or "the server returned an error")
            return orjson.loads(answer)


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=b64decode(bundle).decode())


def _with_timeout(url: str, timeout_s: float) -> str:
    return f"{url}{'&' if '?' in url else '?'}timeout={int(timeout_s)}s"


def shown_url(client: Mapping[str, Any]) -> str:
    if url := client.get("url"):
        return str(url)
    service = client["service"]
    port = service.get("port", 443)
    return f"https://{service['name']}.{service['namespace']}.svc:{port}{service.get('path', '/')}"


def address_of(store: Store, namespace: str, name: str, port: int) -> str:
    """Host and port of a ready endpoint of a Service. Raises CallFailed."""
    entry = store.get("services", Key(namespace, name))
    if entry is None:
        raise CallFailed(f'service "{name}" not found')
    spec = entry.object["spec"]
    if spec.get("type") == "ExternalName":
        return f"{spec['externalName']}:{port}"
    wanted = next((each for each in spec.get("ports") or () if each["port"] == port), None)
    if wanted is None:
        raise CallFailed(f'service "{name}" does not have a port {port}')
    for found in store.list(_SLICES, namespace):
        obj = found.object
        if (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
            continue
        numbers = [p["port"] for p in obj.get("ports") or () if p.get("name", "") == wanted.get("name", "")]
        for endpoint in obj.get("endpoints") or ():
            if numbers and (endpoint.get("conditions") or {}).get("ready", True):
                return f"{endpoint['addresses'][0]}:{numbers[0]}"
    raise CallFailed(f'no endpoints available for service "{name}"')
