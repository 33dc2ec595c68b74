"""agnhost guestbook: a key-value store of one primary and replicas, and the frontend before them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agents import http
from agents.emulated.agnhost.netexec import form
from agents.emulated.netcommands import address_of
from agents.emulated.program import Program, problem, routed, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, World

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

REGISTER_S = 15.0
RETRY_S = 1.0
DIAL_S = 5.0
_FLAGS = ("http-port", "backend-port", "replicaof", "slaveof")


def guestbook(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, *_FLAGS))

    async def start(program: Program) -> None:
        book = _Guestbook(shell.world, program, int(given.get("backend-port") or 6379))
        primary = given.get("replicaof") or given.get("slaveof") or ""
        if primary:
            program.beside("register", book.register_at(primary))
        await program.serve_http(int(given.get("http-port") or 80), book.handle)

    return (yield from served(shell.world, start))


class _Guestbook:
    def __init__(self, world: World, program: Program, backend_port: int) -> None:
        self._world = world
        self._program = program
        self._port = backend_port
        self._store: dict[str, Any] = {}
        self._replicas: list[str] = []
        self.handle = routed(
            {"/register": self._register, "/get": self._get, "/set": self._set, "/guestbook": self._front}
        )

    async def register_at(self, primary: str) -> None:
        """Fetches what the primary has, and hears of changes from then on."""
        target = f"register?host={self._world.place.pod_ip}"
        self._program.log(f"Registering to primary: {primary}:{self._port}/{target}")
        waited = 0.0
        while waited < REGISTER_S:
            try:
                self._store = json.loads(await self._dial(primary, target))["data"] or {}
            except (OSError, http.BadAnswer) as error:
                self._program.log(
                    f"encountered error while registering to primary: {error}. Retrying in 1 second."
                )
            except (ValueError, KeyError, TypeError) as error:
                self._program.fail(f"Error while unmarshaling primary's response: {error}")
                return
            else:
                self._program.log(f"Registered to node: {primary}")
                return
            await asyncio.sleep(RETRY_S)
            waited += RETRY_S
        self._program.fail("Timed out while registering to primary.")

    async def _dial(self, host: str, target: str) -> str:
        ip = address_of(self._world, host)
        if ip is None:
            raise OSError(None, f"lookup {host}: no such host")
        wanted = http.Request(method="GET", target=f"/{target}", headers=[("Host", f"{host}:{self._port}")])
        async with asyncio.timeout(DIAL_S):
            return (await self._program.fetch(ip, self._port, wanted)).body.decode(errors="replace")

    async def _register(self, request: http.Request) -> http.Response:
        host = form(request).get("host", "")
        self._program.log(f"GET /register?host={host}")
        self._replicas.append(host)
        self._program.log(f"Node '{host}' registered.")
        return _json({"data": self._store})

    async def _get(self, request: http.Request) -> http.Response:
        key = form(request).get("key", "")
        self._program.log(f"GET /get?key={key}")
        return _json({"data": self._store.get(key, "") if key else self._store})

    async def _set(self, request: http.Request) -> http.Response:
        values = form(request)
        key, value = values.get("key", ""), values.get("value", "")
        self._program.log(f"GET /set?key={key}&value={value}")
        if not key:
            return problem("cannot set with empty key.", 400)
        self._store[key] = value
        for replica in self._replicas:
            try:
                await self._dial(replica, f"set?key={key}&value={value}")
            except (OSError, http.BadAnswer) as error:
                return problem(f"encountered error while propagating to replica '{replica}': {error}", 417)
        return _json({"message": "Updated"})

    async def _front(self, request: http.Request) -> http.Response:
        values = form(request)
        command, key, value = values.get("cmd", "").lower(), values.get("key", ""), values.get("value", "")
        self._program.log(f"GET /guestbook?cmd={command}&key={key}&value={value}")
        if command not in ("get", "set"):
            return problem(f"unsupported cmd: '{command}'", 400)
        if command == "set" and not key:
            return problem("cannot set with empty key.", 400)
        host = self._backend(command)
        try:
            return text(await self._dial(host, f"{command}?key={key}&value={value}"))
        except (OSError, http.BadAnswer) as error:
            return problem(f"encountered error: {error}", 417)

    def _backend(self, command: str) -> str:
        """The Service of today's manifests, or of those before 1.19."""
        names = (
            ("agnhost-replica", "agnhost-slave")
            if command == "get"
            else ("agnhost-primary", "agnhost-master")
        )
        return next((name for name in names if address_of(self._world, name) is not None), names[0])


def _json(document: dict[str, Any]) -> http.Response:
    return text(json.dumps(document, separators=(",", ":")))
