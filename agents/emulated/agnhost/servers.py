"""The small servers of agnhost: each answers one thing."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import TYPE_CHECKING

from agents import http
from agents.emulated.agnhost.netexec import CERTIFICATE, KEY, context_of, form, redirection
from agents.emulated.program import NOT_FOUND, Handler, Program, problem, routed, served, text
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run
from agents.files import Files, exists

if TYPE_CHECKING:
    from agents.emulated.shell import Shell
    from agents.emulated.textcommands import Command

ALIVE_S = 10.0
DEREGISTER_S = 60
FLUSH_S = 0.5
_PAGE = re.compile(
    r"\s*<(!doctype html|html|head|title|script|style|body|p|div|h1|table|font|iframe|a|b|br)[\s>]",
    re.IGNORECASE,
)
"""What Go's HTTP server takes for HTML where nobody says what it is."""
FILE_HEADERS = (
    ("Cache-Control", "private"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
)


def _says(body: str, *, close: bool = False) -> Handler:
    async def answer(request: http.Request) -> http.Response:
        kind = "text/html" if _PAGE.match(body) else "text/plain"
        headers = (("Content-Type", f"{kind}; charset=utf-8"),)
        return http.Response(status=200, headers=headers, body=body.encode(), close=close)

    return answer


def _fake_gitserver(shell: Shell, words: list[str]) -> Run:
    async def start(program: Program) -> None:
        await program.serve_http(8000, _says("I am a fake git server"))

    return (yield from served(shell.world, start))


def _liveness(shell: Shell, words: list[str]) -> Run:
    """Well for ten seconds, then no more."""
    began = shell.world.now()

    def age() -> float:
        return (shell.world.now() - began).total_seconds()

    async def healthz(request: http.Request) -> http.Response:
        return text(f"error: {age():.9g}", 500) if age() > ALIVE_S else text("ok")

    async def started(request: http.Request) -> http.Response:
        return text(f"{age():.9g}s")

    async def redirect(request: http.Request) -> http.Response:
        return redirection(form(request).get("loc", ""), 302)

    async def start(program: Program) -> None:
        await program.serve_http(
            8080, routed({"/healthz": healthz, "/started": started, "/redirect": redirect})
        )

    return (yield from served(shell.world, start))


def _serve_hostname(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, "port"))
    port = int(given.get("port") or 9376)
    hostname = shell.world.hostname.encode()
    tcp, udp = ("true" in (given[name] or "true") if name in given else False for name in ("tcp", "udp"))

    async def start(program: Program) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(hostname)
            await writer.drain()

        async def answer(request: http.Request) -> http.Response:
            program.log(f"HTTP request from {request.peer}:{request.peer_port}")
            return http.Response(status=200, body=hostname, close="close" in given)

        if tcp:
            await program.serve_tcp(port, greet)
        if udp:
            await program.serve_udp(port, lambda data, sender: hostname)
        if given.get("http", "true") != "false" and not tcp and not udp:
            await program.serve_http(port, answer)
        program.log(f"Serving on port {port}.")
        shell.world.trap = f"sleep {DEREGISTER_S}; exit 0"

    return (yield from served(shell.world, start))


def _told(body: str) -> Handler:
    """The body beside the method it was asked for with, as --json-response has it."""

    async def answer(request: http.Request) -> http.Response:
        document = json.dumps({"Method": request.method, "Body": body}, separators=(",", ":"))
        headers = (("Content-Type", "application/json"),)
        return http.Response(status=200, headers=headers, body=document.encode())

    return answer


def _repeats(said: bytes, data: bytes, sender: tuple[str, int]) -> bytes:
    return said


def _porter(shell: Shell, words: list[str]) -> Run:
    """What the environment says, at the ports that it names."""
    variables = shell.variables
    given, _ = options(words)
    handler = _told if given.get("json-response", "false") != "false" else _says

    async def start(program: Program) -> None:
        for name, value in variables.items():
            kind, _, port = name.rpartition("_")
            if not port.isdigit():
                continue
            if kind in ("SERVE_PORT", "SERVE_TCP_PORT"):
                await program.serve_http(int(port), handler(value))
            elif kind == "SERVE_UDP_PORT":
                await program.serve_udp(int(port), partial(_repeats, value.encode()))
            elif kind == "SERVE_TLS_PORT":
                pair = variables.get("CERT_FILE", CERTIFICATE), variables.get("KEY_FILE", KEY)
                await program.serve_http(int(port), handler(value), tls=context_of(shell, *pair))

    return (yield from served(shell.world, start))


def _test_webserver(shell: Shell, words: list[str]) -> Run:
    """The container's files."""
    given, _ = options(spaced(words, "port"))
    files = shell.world.files

    async def answer(request: http.Request) -> http.Response:
        return _file(files, request.path)

    async def start(program: Program) -> None:
        await program.serve_http(int(given.get("port") or 80), answer)

    return (yield from served(shell.world, start))


def _file(files: Files, path: str) -> http.Response:
    try:
        if files.stat(path).kind != "directory":
            return http.Response(status=200, headers=FILE_HEADERS, body=files.read(path))
        if not path.endswith("/"):
            location = (("Location", f"{path.rpartition('/')[2]}/"),)
            return http.Response(status=301, headers=location)
        index = f"{path}index.html"
        if exists(files, index):
            return http.Response(status=200, headers=FILE_HEADERS, body=files.read(index))
        names = "".join(f'<a href="{name}">{name}</a>\n' for name in files.names(path))
        return text(f"<pre>\n{names}</pre>\n")
    except OSError:
        return NOT_FOUND


def _port_forward_tester(shell: Shell, words: list[str]) -> Run:
    """One connection: it checks what the client says, then sends chunks and closes."""
    variables = shell.variables
    expected = variables.get("EXPECTED_CLIENT_DATA", "").encode()

    async def talk(program: Program, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        program.print("Accepted client connection")
        if expected:
            try:
                received = await reader.readexactly(len(expected))
            except asyncio.IncompleteReadError as cut:
                wanted, got = len(expected), len(cut.partial)
                program.print(f"Expected to read {wanted} bytes from client, but got {got} instead. err=EOF")
                program.exit(2)
                return
            if received != expected:
                program.print(
                    f'Expect to read "{expected.decode()}", but got "{received.decode()}". err=<nil>'
                )
                program.exit(3)
                return
            program.print("Received expected client data")
        chunks, size, pause_ms = (
            int(variables.get(name) or 0) for name in ("CHUNKS", "CHUNK_SIZE", "CHUNK_INTERVAL")
        )
        for number in range(chunks):
            writer.write(b"x" * size)
            await writer.drain()
            if number + 1 < chunks:
                await asyncio.sleep(pause_ms / 1000)
        program.print("Shutting down connection")
        writer.write_eof()
        await asyncio.sleep(FLUSH_S)
        program.print("Done")
        program.exit(0)

    async def start(program: Program) -> None:
        await program.serve_tcp(int(variables.get("BIND_PORT") or 0), partial(talk, program))

    return (yield from served(shell.world, start))


def _tcp_reset(shell: Shell, words: list[str]) -> Run:
    """Reads one byte and closes: what else came makes it a reset."""
    given, _ = options(spaced(words, "port"))

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(await reader.read(2)) > 1:
            writer.transport.abort()

    async def start(program: Program) -> None:
        await program.serve_tcp(int(given.get("port") or 8080), cut)

    return (yield from served(shell.world, start))


def _no_snat_test(shell: Shell, words: list[str]) -> Run:
    """Whether others see this pod's own address."""
    given, _ = options(spaced(words, "port"))
    own = shell.variables.get("POD_IP", "")

    async def start(program: Program) -> None:
        async def whoami(request: http.Request) -> http.Response:
            return text(request.peer)

        async def check(request: http.Request) -> http.Response:
            for target in form(request).get("ips", "").split(","):
                host, _, port = target.rpartition(":")
                wanted = http.Request(method="GET", target="/whoami", headers=[("Host", target)])
                try:
                    seen = (await program.fetch(host, int(port), wanted)).body.decode()
                except (OSError, ValueError, http.BadAnswer) as error:
                    return problem(str(error), 500)
                if seen != own:
                    return problem(f"Returned ip: {seen} != my Pod ip: {own} - SNAT", 500)
            return http.Response(status=200)

        routes = routed({"/whoami": whoami, "/checknosnat": check})
        await program.serve_http(int(given.get("port") or 8080), routes)

    return (yield from served(shell.world, start))


COMMANDS: dict[str, Command] = {
    "fake-gitserver": _fake_gitserver,
    "liveness": _liveness,
    "no-snat-test": _no_snat_test,
    "port-forward-tester": _port_forward_tester,
    "porter": _porter,
    "serve-hostname": _serve_hostname,
    "tcp-reset": _tcp_reset,
    "test-webserver": _test_webserver,
}
