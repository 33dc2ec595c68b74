"""The ingress proxy, one in each agent process: HTTP and HTTPS at the address that Ingresses show.

Ports 80 and 443 there (or what stands for them without privileges, see `agents.loopback`), shared by the
agents of a machine as Services are (`frontends`). Endpoints are asked directly, a connection per request.
HTTPS ends here: the certificate is chosen by the name that the client asks for (SNI), else the first one;
without any certificate nobody listens on 443.

Divergence: a request's body may have 1 MiB (413 beyond, as nginx' default), an answer's 64 MiB; both are
passed on when they are complete. No WebSockets.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents import http
from agents.network import AddressInUse, Listener, Network
from agents.services import certificates
from agents.services.routes import Backend, Path, Routes, chosen, is_ours
from agents.services.table import Address, Entry, Frontend, ServiceTable
from broker.supervision import Tasks
from cluster.api.objects import Key, Object

HTTP_PORT, HTTPS_PORT = 80, 443

ANSWER_S = 60.0
MAX_ANSWER_BYTES = 64 << 20
_HOP_BY_HOP = (
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers",
    "transfer-encoding", "upgrade", "content-length",
)  # fmt: skip


class Known(Protocol):
    def lookup(self, kind: str, namespace: str, name: str) -> Object | None: ...

    def of_kind(self, kind: str) -> Sequence[Object]: ...


class IngressProxy:
    def __init__(
        self, network: Network, table: ServiceTable, tasks: Tasks, log: FilteringBoundLogger
    ) -> None:
        self._network = network
        self._table = table
        self._tasks = tasks
        self._log = log
        self._routes = Routes(())
        self._ip = ""
        self._open: dict[int, Listener] = {}
        self._certificates = certificates.Certificates(log)
        self._turn = 0
        self._moving = asyncio.Lock()

    def take(self, known: Known) -> None:
        """Ingresses, their classes, or Secrets that they name changed."""
        classes = known.of_kind("IngressClass")
        ours = [ingress for ingress in known.of_kind("Ingress") if is_ours(ingress, classes)]
        self._routes = Routes(ours)
        self._certificates.replace(_pairs(ours, known))
        self._ip = next((ip for ip in map(_address, ours) if ip), "")
        self._tasks.start("ingress", self._settle())

    async def _settle(self) -> None:
        async with self._moving:
            wanted: dict[int, SSLContext | None] = {HTTP_PORT: None} if self._ip else {}
            if self._ip and self._certificates.context is not None:
                wanted[HTTPS_PORT] = self._certificates.context
            for port in [port for port in self._open if port not in wanted]:
                await self._open.pop(port).close()
            for port, tls in wanted.items():
                if port not in self._open:
                    await self._listen(port, tls)

    async def _listen(self, port: int, tls: SSLContext | None) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            secure = port == HTTPS_PORT
            await http.serve(reader, writer, lambda request: self._answer(request, secure=secure))

        if not self._open:
            await self._network.attach(self._ip)
        try:
            self._open[port] = await self._network.listen(self._ip, port, serve, shared=True, tls=tls)
        except (AddressInUse, OSError) as error:
            self._log.warning("no ingress", address=f"{self._ip}:{port}", why=str(error))

    async def close(self) -> None:
        for port in list(self._open):
            await self._open.pop(port).close()
        if self._ip:
            await self._network.detach(self._ip)

    # --- requests

    async def _answer(self, request: http.Request, *, secure: bool) -> http.Response:
        host = request.header("host")
        if int(request.header("content-length") or 0) > http.MAX_BODY_BYTES:
            return _plain(413, "Request Entity Too Large")
        path, backend = self._routes.find(host, request.path)
        if backend is None:
            return _plain(404, "Not Found")
        if path is not None:
            if path.to_tls and not secure:
                location = f"https://{host.partition(':')[0]}{request.target}"
                return http.Response(status=308, headers=[("Location", location)])
            self._turn += 1
            backend = chosen(path, request.header, _cookies(request), self._turn)
        target = self._endpoint(backend, request.peer)
        if target is None:
            return _plain(503, "Service Temporarily Unavailable")
        return await self._forward(request, target, path, secure=secure)

    def _endpoint(self, backend: Backend, client: str) -> tuple[str, int] | None:
        service = self._table.service(backend.service)
        for port in (service or {}).get("spec", {}).get("ports") or ():
            if backend.port in (0, port["port"], port.get("name")):
                address = Address("TCP", "", port["port"])
                frontend = Frontend(address, backend.service, port.get("name", ""), Entry.EXTERNAL_IP)
                found = self._table.pick(frontend, client)
                return (found.ip, found.port) if found is not None else None
        return None

    async def _forward(
        self, request: http.Request, target: tuple[str, int], path: Path | None, *, secure: bool
    ) -> http.Response:
        forwarded = http.Request(
            method=request.method,
            target=_target(request, path),
            headers=[*_passed_on(request.headers), *_forwarding(request, secure)],
            body=request.body,
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await http.fetch(self._network, *target, forwarded, limit_bytes=MAX_ANSWER_BYTES)
        except TimeoutError:
            return _plain(504, "Gateway Time-out")
        except (OSError, http.BadAnswer):
            return _plain(502, "Bad Gateway")
        return http.Response(status=answer.status, headers=_passed_on(answer.headers), body=answer.body)


def _target(request: http.Request, path: Path | None) -> str:
    where, mark, query = request.target.partition("?")
    return (path.rewritten(where) if path is not None else where) + mark + query


def _passed_on(headers: http.Headers) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def _forwarding(request: http.Request, secure: bool) -> list[tuple[str, str]]:
    scheme = "https" if secure else "http"
    host = request.header("host")
    return [
        ("X-Real-IP", request.peer),
        ("X-Forwarded-For", request.peer),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Port", str(HTTPS_PORT if secure else HTTP_PORT)),
        ("X-Forwarded-Proto", scheme),
        ("X-Forwarded-Scheme", scheme),
        ("X-Scheme", scheme),
    ]


def _cookies(request: http.Request) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in request.header("cookie").split(";"))
    return {name: value for name, _, value in pairs}


def _plain(status: int, text: str) -> http.Response:
    body = f"{status} {text}\n".encode()
    return http.Response(status=status, headers=[("Content-Type", "text/plain")], body=body)


def _address(ingress: Object) -> str:
    entries = (ingress.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    return next((entry["ip"] for entry in entries if entry.get("ip")), "")


def _pairs(ingresses: Iterable[Object], known: Known) -> dict[Key, tuple[bytes, bytes, list[str]]]:
    """Certificate, key and the hosts they are for, of each Secret that Ingresses name."""
    found: dict[Key, tuple[bytes, bytes, list[str]]] = {}
    for ingress in ingresses:
        for tls in ingress["spec"].get("tls") or ():
            key = Key(ingress["metadata"]["namespace"], tls.get("secretName", ""))
            secret = known.lookup("Secret", *key)
            data = (secret or {}).get("data") or {}
            if "tls.crt" in data and "tls.key" in data:
                hosts = found[key][2] if key in found else []
                hosts += [host.lower() for host in tls.get("hosts") or ()]
                found[key] = (b64decode(data["tls.crt"]), b64decode(data["tls.key"]), hosts)
    return found
