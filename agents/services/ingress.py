"""The ingress proxy, one in each agent process: HTTP and HTTPS at the address that Ingresses show.

Ports 80 and 443 there (or what stands for them without privileges, see `agents.loopback`), shared by the
agents of a machine as Services are (`frontends`). Endpoints are asked directly, a connection per request
(`relay`), as the node's own traffic: policies don't keep it out. HTTPS ends here: the certificate is chosen
by the name that the client asks for (SNI), else the first one; without any certificate nobody listens on 443.
A request's body may have 1 MiB unless the annotation proxy-body-size says otherwise, as with nginx.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Protocol

import h11
from structlog.typing import FilteringBoundLogger

from agents.network import AddressInUse, Listener, Network
from agents.services import certificates, relay
from agents.services.routes import BODY_LIMIT, Backend, Path, Routes, chosen, is_ours
from agents.services.table import Address, Entry, Frontend, ServiceTable
from broker.supervision import Tasks
from cluster.api.objects import Key, Object

HTTP_PORT, HTTPS_PORT = 80, 443


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
            await relay.serve(self._network, reader, writer, _Guide(self, secure=port == HTTPS_PORT))

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

    def way(self, request: Request, attempt: int, *, secure: bool) -> relay.Way | relay.Answer:
        """`attempt`: the first one chooses the backend, further ones other endpoints of it."""
        host = request.header("host")
        path, backend = self._routes.find(host, request.path)
        if backend is None:
            return relay.Answer(404)
        if path is not None:
            answer = _answered(request, path, secure)
            if answer is not None:
                return answer
            self._turn += 1 if attempt == 0 else 0
            backend = chosen(path, request.header, _cookies(request), self._turn)
        target = self._endpoint(backend, request.client)
        if target is None:
            return relay.Answer(503, "Service Temporarily Unavailable")
        return relay.Way(
            ip=target[0],
            port=target[1],
            target=_target(request, path),
            headers=_forwarding(request, secure),
            limit_bytes=path.body_limit if path is not None else BODY_LIMIT,
        )

    def _endpoint(self, backend: Backend, client: str) -> tuple[str, int] | None:
        service = self._table.service(backend.service)
        for port in (service or {}).get("spec", {}).get("ports") or ():
            if backend.port in (0, port["port"], port.get("name")):
                address = Address("TCP", "", port["port"])
                frontend = Frontend(address, backend.service, port.get("name", ""), Entry.EXTERNAL_IP)
                found = self._table.pick(frontend, client)
                return (found.ip, found.port) if found is not None else None
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one, as text."""

    target: str
    headers: dict[str, str]
    client: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True, slots=True)
class _Guide:
    proxy: IngressProxy
    secure: bool

    def way(self, head: h11.Request, client: str, attempt: int) -> relay.Way | relay.Answer:
        headers = {name.decode(): value.decode("latin-1") for name, value in reversed(list(head.headers))}
        request = Request(head.target.decode("latin-1"), headers, client)
        return self.proxy.way(request, attempt, secure=self.secure)


def _answered(request: Request, path: Path, secure: bool) -> relay.Answer | None:
    """What the proxy answers itself: who may not ask, and who is sent elsewhere."""
    if not path.lets_in(request.client):
        return relay.Answer(403)
    if path.to_tls and not secure:
        host = request.header("host").partition(":")[0]
        return _elsewhere(308, f"https://{host}{request.target}")
    if path.app_root and request.path == "/":
        scheme = "https" if secure else "http"
        return _elsewhere(302, f"{scheme}://{request.header('host')}{path.app_root}")
    if path.redirect is not None:
        return _elsewhere(*path.redirect)
    return None


def _elsewhere(status: int, location: str) -> relay.Answer:
    return relay.Answer(status, headers=[("location", location)])


def _target(request: Request, path: Path | None) -> str:
    where, mark, query = request.target.partition("?")
    return (path.rewritten(where) if path is not None else where) + mark + query


def _forwarding(request: Request, secure: bool) -> list[tuple[str, str]]:
    scheme = "https" if secure else "http"
    return [
        ("X-Real-IP", request.client),
        ("X-Forwarded-For", request.client),
        ("X-Forwarded-Host", request.header("host")),
        ("X-Forwarded-Port", str(HTTPS_PORT if secure else HTTP_PORT)),
        ("X-Forwarded-Proto", scheme),
        ("X-Forwarded-Scheme", scheme),
        ("X-Scheme", scheme),
    ]


def _cookies(request: Request) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in request.header("cookie").split(";"))
    return {name: value for name, _, value in pairs}


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
