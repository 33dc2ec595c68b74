"""An HTTPS server of the test's own, with its own authority: webhooks and aggregated APIs, by URL or Service."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from aiohttp import web
from live_server import LiveServer

from broker.clock import SystemClock
from cluster.api.kinds import ENDPOINT_SLICES, SERVICES
from cluster.api.objects import Object
from cluster.server.certificates import open_pki

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
SERVICE = "own"


class OwnServer:
    """Handlers by path; what is asked elsewhere is 404. `asked` has the path and query of each request."""

    def __init__(self, bundle: str, context: ssl.SSLContext) -> None:
        self.bundle = bundle
        self.context = context
        self.port = 0
        self.handlers: dict[str, Handler] = {}
        self.asked: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        handler = self.handlers.get(request.path)
        return (
            web.Response(status=404, text="404 page not found") if handler is None else await handler(request)
        )

    def answer(self, path: str, make: Callable[[Object], Object]) -> None:
        """POSTs to `path` get what `make` makes of their body."""

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response(make(orjson.loads(await request.read())))

        self.handlers[path] = handler

    def by_url(self, path: str) -> Object:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    def by_service(self, path: str = "", port: int = 443) -> Object:
        service: Object = {"namespace": "default", "name": SERVICE, "port": port}
        return {"service": service | ({"path": path} if path else {}), "caBundle": self.bundle}

    async def be_service(self, live: LiveServer, port: int = 443, name: str = SERVICE) -> None:
        """A Service without selector and its EndpointSlice."""
        ports = [{"name": "https", "port": port, "targetPort": self.port}]
        await live.create(SERVICES, {"metadata": {"name": name}, "spec": {"ports": ports}})
        labels = {"kubernetes.io/service-name": name}
        await live.create(
            ENDPOINT_SLICES,
            {
                "metadata": {"name": name, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": self.port}],
            },
        )


@asynccontextmanager
async def own_server(folder: Path, client_authority: Path | None = None) -> AsyncIterator[OwnServer]:
    """`client_authority`: whose client certificates are asked for."""
    pki = open_pki(folder / "own", server_names=[f"{SERVICE}.default.svc"], now=SystemClock().now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server.certificate, pki.server.key)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_OPTIONAL
    made = OwnServer(b64encode(pki.authority_pem).decode(), context)
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield made
    finally:
        await runner.cleanup()
