"""Calls to servers that a configuration names, by URL or by Service, over HTTPS with the bundle it gives."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson

from cluster.server.webhooks.failures import said
from cluster.server.webhooks.reach import Reach, Unreachable

ANSWER_LIMIT = 8 * 1024 * 1024


class CallFailed(Exception):
    """No usable answer; the text says why."""


class Caller(Protocol):
    async def post(self, client: Mapping[str, Any], body: Any, timeout_s: float) -> Any:
        """Sends JSON to the server of a WebhookClientConfig and gives the JSON it answers with.
        Raises CallFailed."""

    async def close(self) -> None: ...


class HttpsCaller:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, client: Mapping[str, Any], body: Any, timeout_s: float) -> Any:
        shown = _with_timeout(shown_url(client), timeout_s)
        try:
            async with asyncio.timeout(timeout_s), self._where(client) as (url, host):
                return await self._post(url, host, client.get("caBundle", ""), body, timeout_s)
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ssl.SSLError, CallFailed, Unreachable) as error:
            raise CallFailed(f'Post "{shown}": {said(error, _named(client))}') from None
        except ValueError as error:
            raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from None

    @asynccontextmanager
    async def _where(self, client: Mapping[str, Any]) -> AsyncIterator[tuple[str, str]]:
        """The URL to connect to, and the name that the certificate must be for."""
        if url := client.get("url"):
            yield url, _named(client)
            return
        service = client["service"]
        endpoint = self._reach.endpoint(service["namespace"], service["name"], service.get("port", 443))
        async with self._reach.address(endpoint) as address:
            yield f"https://{address}{service.get('path', '/')}", _named(client)

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
            answer = await _whole(response.content)
            if response.status != 200:
                text = answer.decode(errors="replace").strip()
                raise CallFailed(text or "the server returned an error")
            return orjson.loads(answer)


async def _whole(content: aiohttp.StreamReader) -> bytes:
    answer = bytearray()
    async for piece in content.iter_any():
        answer += piece
        if len(answer) > ANSWER_LIMIT:
            raise CallFailed(f"the answer is larger than {ANSWER_LIMIT} bytes")
    return bytes(answer)


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=b64decode(bundle).decode())


def _with_timeout(url: str, timeout_s: float) -> str:
    return f"{url}{'&' if '?' in url else '?'}timeout={int(timeout_s)}s"


def _named(client: Mapping[str, Any]) -> str:
    """Whom the certificate has to be for."""
    if url := client.get("url"):
        return urlsplit(url).hostname or ""
    return f"{client['service']['name']}.{client['service']['namespace']}.svc"


def shown_url(client: Mapping[str, Any]) -> str:
    if url := client.get("url"):
        return str(url)
    service = client["service"]
    port = service.get("port", 443)
    return f"https://{service['name']}.{service['namespace']}.svc:{port}{service.get('path', '/')}"
