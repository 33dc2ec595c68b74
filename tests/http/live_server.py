"""A whole API server in the test's own event loop: memory journal, memory broker, real TLS on a free port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from broker.chance import Chance
from broker.clock import SystemClock
from broker.rules import LinkRules
from broker.transport.memory import MemoryBroker
from cluster.api.resource import Resource
from cluster.app import ControlPlane, Trust
from cluster.server.auth.tokens import SigningKey
from cluster.server.certificates import Pki, client_pair, kubeconfig, open_pki
from cluster.server.http.audit import AuditLog
from cluster.server.http.serve import ApiServer
from cluster.settings import CONTROL_USER, Settings
from cluster.store.journal.memory import MemoryJournal

TOKENS = 'secret-of-jane,jane,uid-jane,"team-a,dev"\nsecret-of-root,root,uid-root,system:masters\n'


class Reply:
    """An answer, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], text: bytes) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> Any:
        import orjson

        return orjson.loads(self.text)

    def expect(self, status: int) -> Any:
        assert self.status == status, self.text.decode()
        return self.json


class LiveServer:
    def __init__(self, plane: ControlPlane, server: ApiServer, pki: Pki, port: int, folder: Path) -> None:
        self.plane = plane
        self.server = server
        self.pki = pki
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig = folder / "kubeconfig"
        self._folder = folder
        self._sessions: list[aiohttp.ClientSession] = []
        self._admin = self.session(self.pki.admin.certificate, self.pki.admin.key)
        self._plain = self.session()
        config = kubeconfig(
            server=self.url, authority_pem=pki.authority_pem, cluster="test", user="admin", pair=pki.admin
        )
        self.kubeconfig.write_bytes(config)

    def session(
        self, certificate: Path | None = None, key: Path | None = None, *, unpack: bool = True
    ) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=str(self.pki.authority.certificate))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), auto_decompress=unpack)
        self._sessions.append(session)
        return session

    def certified(self, user: str, *groups: str) -> aiohttp.ClientSession:
        pair = client_pair(self.pki, user, groups, now=SystemClock().now())
        return self.session(pair.certificate, pair.key)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        session: aiohttp.ClientSession | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """As the administrator; with `token` ("" for none) without a certificate."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if session is None:
            session = self._admin if token is None else self._plain
        arguments: dict[str, Any] = {"json": body} if body is not None else {"data": data and BytesIO(data)}
        async with session.request(method, self.url + path, headers=sent, **arguments) as response:
            return Reply(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, **more: Any) -> Reply:
        return await self.call("GET", path, **more)

    async def create(self, resource: Resource, body: dict[str, Any], namespace: str = "default") -> Any:
        reply = await self.call("POST", resource.path(namespace), body)
        return reply.expect(201)

    async def kubectl(self, *arguments: str, binary: str = "kubectl", stdin: str = "") -> tuple[int, str]:
        """Exit code, and both outputs."""
        cache = self._folder / "cache"
        process = await asyncio.create_subprocess_exec(
            binary, "--kubeconfig", str(self.kubeconfig), "--cache-dir", str(cache), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate(stdin.encode())
        return process.returncode or 0, output.decode()

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()
        await self.server.close()
        await self.plane.stop()


@asynccontextmanager
async def live_server(folder: Path, *, audit: AuditLog | None = None) -> AsyncIterator[LiveServer]:
    clock, chance, log = SystemClock(), Chance(1), structlog.get_logger()
    tokens = folder / "tokens.csv"
    tokens.write_text(TOKENS)
    settings = Settings(data=folder, port=0, token_auth_file=tokens)
    pki = open_pki(folder / "pki", server_names=[settings.kubernetes_service_ip], now=clock.now())
    plane = ControlPlane(
        settings,
        clock=clock,
        chance=chance,
        transport=MemoryBroker(chance.fork("broker")).link(CONTROL_USER, LinkRules()),
        journal=MemoryJournal(),
        log=log,
        trust=Trust(
            service_account_key=SigningKey.from_pem(pki.service_account_key.read_bytes()),
            cluster_ca=pki.authority_pem.decode(),
            sign=pki.sign,
            front_proxy=pki.shown_to_backends,
        ),
        verify=True,
    )
    server = ApiServer(
        plane.verbs,
        plane.identity,
        pki,
        streams=plane.gateway,
        audit=audit,
        backends=plane.backends,
        clock=clock,
        chance=chance,
        log=log,
    )
    plane.add_metrics(server.metrics)
    await plane.start()
    live = LiveServer(plane, server, pki, await server.open("127.0.0.1", 0), folder)
    try:
        yield live
    finally:
        await live.close()
