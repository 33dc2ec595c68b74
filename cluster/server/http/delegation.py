"""Requests for aggregated APIs: passed on to the server behind the Service that an APIService names.

Who asks has been found out and allowed here; the server is told in headers, over TLS with a client
certificate that proves it may believe them. Bodies and answers are streamed, so watches pass too.

Divergence: connections are not upgraded (no exec through an aggregated API).
"""

from __future__ import annotations

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from cluster.server.aggregation.backends import Backend, Backends
from cluster.server.aggregation.front_proxy import EXTRA, GROUP, UID, USER, headers_of
from cluster.server.http.exchange import Exchange
from cluster.server.webhooks.failures import said
from cluster.server.webhooks.reach import Unreachable

_OPENAPI = "/openapi/v3/"
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade", "host",
})  # fmt: skip
_CREDENTIALS = frozenset({"authorization", USER.lower(), UID.lower(), GROUP.lower()})
_PIECE_BYTES = 64 * 1024


class Delegation:
    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def backend(self, path: str) -> Backend | None:
        """Who answers requests for `path`; None if it is answered here."""
        table = self._backends.table
        if not table:
            return None
        match path.removeprefix(_OPENAPI).strip("/").split("/", 3):
            case ["apis", group, version, *_]:
                return table.get((group, version))
            case ["api", version, *_]:
                return table.get(("", version))
        return None

    async def answer(self, exchange: Exchange, backend: Backend) -> web.StreamResponse:
        if not backend.available:
            return _unavailable("service unavailable")
        started: list[web.StreamResponse] = []
        try:
            return await self._forwarded(exchange, backend, started)
        except Unreachable:
            return _unavailable("service unavailable")
        except (aiohttp.ClientError, OSError) as error:
            if started:  # the client sees the answer break off, as ours did
                raise ConnectionResetError(str(error)) from None
            return _unavailable(f"error trying to reach service: {said(error, backend.server_name)}")

    async def _forwarded(
        self, exchange: Exchange, backend: Backend, started: list[web.StreamResponse]
    ) -> web.StreamResponse:
        """`started` gets the response once the client hears of it."""
        request = exchange.request
        client = ("X-Forwarded-For", request.remote or "")
        async with (
            self._backends.address(backend) as address,
            self._backends.session().request(
                request.method,
                URL(f"https://{address}{request.raw_path}", encoded=True),
                headers=[*_passed_on(request), *headers_of(exchange.user), client],
                data=request.content if request.body_exists else None,
                ssl=self._backends.trust(backend),
                server_hostname=backend.server_name,
                allow_redirects=False,
            ) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers=_answered(answer))
            response.headers["Audit-Id"] = exchange.audit_id
            if answer.content_length is None and request.method != "HEAD":
                response.enable_chunked_encoding()
            started.append(response)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _passed_on(request: web.BaseRequest) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in request.headers.items()
        if (low := name.lower()) not in _HOP_BY_HOP
        and low not in _CREDENTIALS
        and not low.startswith((EXTRA.lower(), "impersonate-"))
    ]


def _answered(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    found: CIMultiDict[str] = CIMultiDict()
    for name, value in answer.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            found.add(name, value)
    return found


def _unavailable(text: str) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=503, text=f"{text}\n", headers=headers)
