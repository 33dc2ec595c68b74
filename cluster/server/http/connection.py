"""TLS connections: the HTTP library's protocol class, with the client's identity kept beside it.

A certificate belongs to a connection, so its user is worked out once, when the connection is made, and
every request on it finds the result.

Divergence: a client certificate that this cluster's authority did not sign fails the TLS handshake;
Kubernetes completes it and answers 401.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from cluster.api.errors import Unauthorized
from cluster.server.auth.authenticate import certificate_user
from cluster.server.call import User
from cluster.server.certificates import Pki
from cluster.server.http.exchange import BODY_LIMIT

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

HEADER_LIMIT = 64 * 1024
"""Bytes of the request line and of one header field; long selectors travel there."""
BACKLOG = 1024


class Connection(RequestHandler):
    user: User | None = None
    """Of the client certificate; None where there is none."""
    refused: bool = False
    """The certificate names nobody."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peercert")
        if not peer:
            return
        session = transport.get_extra_info("ssl_object")
        try:
            self.user = certificate_user(peer, session.getpeercert(True))
        except Unauthorized:
            self.refused = True


class _Connections(web.Server):
    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def _make_request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=BODY_LIMIT
        )


class Listener:
    """The listening socket and what comes in over it."""

    def __init__(self, handle: Handle, pki: Pki) -> None:
        self._handle = handle
        self._pki = pki
        self._connections: _Connections | None = None
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listens; returns the port, which the system chooses for 0."""
        self._connections = _Connections(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
            lingering_time=0,
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connections, host, port, ssl=server_context(self._pki), backlog=BACKLOG
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self, grace_s: float = 1.0) -> None:
        """Stops listening, ends watches and idle connections, gives running requests `grace_s`."""
        if self._server is None or self._connections is None:
            return
        self._server.close()
        self._connections.pre_shutdown()
        await self._connections.shutdown(grace_s)
        await self._server.wait_closed()


def server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.authority.certificate))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(pki.server.certificate, pki.server.key)
    context.set_alpn_protocols(["http/1.1"])
    return context
