"""agnhost nettest: all peers of a Service post to each other, and each says whether it heard from enough."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agents import http
from agents.emulated.agnhost.incluster import ApiServer
from agents.emulated.program import Program, routed, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, World

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

PAUSE_S = 5.0
ROUNDS = 15
PATIENCE_S = 300.0
MAX_LOG = 500
_FLAGS = ("port", "peers", "service", "namespace", "delay-shutdown")


def nettest(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, *_FLAGS))

    async def start(program: Program) -> None:
        test = _Nettest(shell.world, program, given)
        program.beside("peers", test.contact_others())
        await program.serve_http(int(given.get("port") or 8080), test.handle)
        if delay := int(given.get("delay-shutdown") or 0):
            shell.world.trap = f"sleep {delay}; exit 0"

    return (yield from served(shell.world, start))


class _Nettest:
    def __init__(self, world: World, program: Program, given: dict[str, str]) -> None:
        self._world = world
        self._program = program
        self._peers = int(given.get("peers") or 8)
        self._service = given.get("service") or "nettest"
        self._namespace = given.get("namespace") or "default"
        self._sent: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._errors: list[str] = []
        self._log: list[str] = []
        self._contacting = True
        self.handle = routed(
            {"/quit": self._quit, "/read": self._read, "/status": self._status, "/write": self._write}
        )

    def _note(self, line: str) -> None:
        self._log = [*self._log, line][-MAX_LOG:]

    async def _quit(self, request: http.Request) -> http.Response:
        self._program.exit(0)
        raise ConnectionResetError

    async def _read(self, request: http.Request) -> http.Response:
        state = {
            "Hostname": self._world.hostname,
            "Sent": self._sent or None,
            "Received": self._received or None,
            "Errors": self._errors or None,
            "Log": self._log or None,
            "StillContactingPeers": self._contacting,
        }
        return text(json.dumps(state, indent="\t"))

    async def _status(self, request: http.Request) -> http.Response:
        if min(len(self._sent), len(self._received)) >= self._peers:
            return text("pass")
        return text("running" if self._contacting else "fail")

    async def _write(self, request: http.Request) -> http.Response:
        try:
            source = json.loads(request.body)["Source"]
        except (ValueError, KeyError, TypeError) as error:
            self._errors.append(str(error))
        else:
            self._received[source] = self._received.get(source, 0) + 1
        return text(json.dumps({"Hostname": self._world.hostname}) + "\n")

    async def contact_others(self) -> None:
        pause_s = max(PAUSE_S, self._peers / 10)
        waited = 0.0
        while len(peers := await self._endpoints()) < self._peers and waited < PATIENCE_S:
            self._note(
                f"{self._namespace}/{self._service} has {len(peers)} endpoints, less than {self._peers}"
            )
            await asyncio.sleep(pause_s)
            waited += pause_s
        for _ in range(ROUNDS):
            for ip, port in await self._endpoints():
                await self._contact(ip, port)
            await asyncio.sleep(pause_s)
        self._contacting = False

    async def _endpoints(self) -> list[tuple[str, int]]:
        path = f"/api/v1/namespaces/{self._namespace}/endpoints/{self._service}"
        try:
            found: dict[str, Any] = json.loads((await ApiServer(self._program).get(path)).body)
        except (OSError, http.BadAnswer, ValueError) as error:
            self._note(f"Unable to read the endpoints for {self._namespace}/{self._service}: {error}.")
            return []
        return [
            (address["ip"], port["port"])
            for subset in found.get("subsets") or ()
            for address in subset.get("addresses") or ()
            for port in subset.get("ports") or ()
        ]

    async def _contact(self, ip: str, port: int) -> None:
        where = f"http://{ip}:{port}"
        self._note(f"Attempting to contact {where}")
        body = json.dumps({"Source": self._world.hostname, "Dest": where}).encode()
        headers = [("Host", f"{ip}:{port}"), ("Content-Type", "application/json")]
        try:
            wanted = http.Request(method="POST", target="/write", headers=headers, body=body)
            answer = json.loads((await self._program.fetch(ip, port, wanted)).body)["Hostname"]
        except (OSError, http.BadAnswer, ValueError, KeyError, TypeError) as error:
            self._note(f"Warning: unable to contact the endpoint {where}: {error}")
            return
        self._sent[answer] = self._sent.get(answer, 0) + 1
