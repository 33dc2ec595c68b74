"""A program of an image that serves, as a command of the small shell.

The command's run opens its listeners on the pod's address and hands on what the program prints until the
program ends by itself or its container does. A profile's latency, hanging and failing probes hold for its
HTTP answers too (`World.before_answer`). Ports that the container asks for on the node are opened with it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from email.utils import format_datetime
from typing import Any

from agents import http
from agents.emulated.world import Ask, Run, World, Write, err, out, seen_from
from agents.network import AddressInUse, DatagramHandler, Datagrams, Listener, StreamHandler
from broker.supervision import Tasks

Handler = Callable[[http.Request], Awaitable[http.Response]]
TERMINATED = 2
"""What a Go program without a handler exits with on SIGTERM."""
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)"
_PAGE = re.compile(
    rb"<!--|<(!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[ >]"
)
"""What browsers, and Go's servers, take for the beginning of a page."""
MAX_UNREAD = 1000
"""Lines that wait for a slow reader; more are lost."""


class Program:
    def __init__(self, world: World) -> None:
        self.world = world
        self.code = 0
        self._output: asyncio.Queue[Write | None] = asyncio.Queue()
        self._open: list[Listener | Datagrams] = []
        self._tasks = Tasks()

    # --- output and end

    def log(self, text: str) -> None:
        """As Go's log package writes."""
        self._put(err(f"{self.world.now():%Y/%m/%d %H:%M:%S} {text}\n"))

    def print(self, text: str) -> None:
        self._put(out(f"{text}\n"))

    def write_error(self, text: str) -> None:
        self._put(err(text))

    def _put(self, line: Write) -> None:
        if self._output.qsize() < MAX_UNREAD:
            self._output.put_nowait(line)

    def exit(self, code: int) -> None:
        self.code = code
        self._output.put_nowait(None)

    def fail(self, text: str) -> None:
        """Go's log.Fatal."""
        self.log(text)
        self.exit(1)

    def beside(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Goes on until the program ends."""
        self._tasks.start(name, work)

    async def next(self) -> Write | None:
        """What it prints next; None at its end. Cancelled, it closes what is open."""
        try:
            line = await self._output.get()
        except asyncio.CancelledError:
            await self.close()
            raise
        if line is None:
            await self.close()
        return line

    async def close(self) -> None:
        opened, self._open = self._open, []
        for listener in opened:
            await listener.close()
        await self._tasks.close()

    # --- listeners

    async def serve_http(self, port: int, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        """Raises AddressInUse, OSError."""

        async def answer(request: http.Request) -> http.Response | None:
            if self.world.before_answer is not None:
                instead = await self.world.before_answer(request)
                if instead is not None:
                    return instead
            response = await handler(request)
            given = {name.lower() for name, _ in response.headers}
            own = [] if "date" in given else [("Date", format_datetime(self.world.now(), usegmt=True))]
            if "content-type" not in given and response.body:
                own.append(("Content-Type", _sniffed(response.body)))
            return http.Response(
                status=response.status,
                headers=[*response.headers, *own],
                body=response.body,
                close=response.close,
            )

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await http.serve(reader, writer, answer)

        await self.serve_tcp(port, serve, tls=tls)

    async def serve_tcp(
        self, port: int, handler: StreamHandler, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Raises AddressInUse, OSError."""
        assert self.world.network is not None
        for ip, number in self._places(port, "TCP"):
            listener = await self.world.network.listen(ip, number, handler, tls=tls)
            self._open.append(listener)

    async def serve_udp(self, port: int, handler: Callable[[bytes, tuple[str, int]], bytes | None]) -> None:
        """Answers each datagram with what the handler says. Raises AddressInUse, OSError."""
        assert self.world.network is not None
        for ip, number in self._places(port, "UDP"):
            where: list[Datagrams] = []

            def heard(data: bytes, sender: tuple[str, int], where: list[Datagrams] = where) -> None:
                answer = handler(data, sender)
                if answer is not None and where:
                    where[0].send(answer, sender)

            where.append(await self.world.network.datagrams(ip, number, heard))
            self._open += where

    def _places(self, port: int, protocol: str) -> list[tuple[str, int]]:
        """The pod's own, and those that the node keeps for it."""
        held = [
            (p.ip, p.host_port) for p in self.world.host_ports if (p.port, p.protocol) == (port, protocol)
        ]
        return [(self.world.place.pod_ip, port), *held]

    # --- connections

    async def fetch(self, ip: str, port: int, request: http.Request, **more: Any) -> http.Response:
        assert self.world.network is not None
        source = self.world.place.pod_ip
        return await http.fetch(
            self.world.network, seen_from(self.world, ip), port, request, source_ip=source, **more
        )

    async def ask_datagram(self, ip: str, port: int, data: bytes, timeout_s: float) -> bytes:
        """Sends one and waits for the answer. Raises TimeoutError, OSError."""
        assert self.world.network is not None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def heard(received: bytes, sender: tuple[str, int]) -> None:
            if not answer.done():
                answer.set_result(received)

        handler: DatagramHandler = heard
        socket = await self.world.network.datagrams(self.world.place.pod_ip, 0, handler)
        try:
            socket.send(data, (seen_from(self.world, ip), port))
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            await socket.close()


def served(world: World, start: Callable[[Program], Awaitable[None]]) -> Run:
    """Runs a program: `start` opens what it serves."""
    program = Program(world)
    world.trap = f"exit {TERMINATED}"

    async def begin() -> None:
        try:
            await start(program)
        except AddressInUse as error:
            program.fail(str(error))
        except ValueError as error:
            program.write_error(f"Error: invalid argument: {error}\n")
            program.exit(1)
        except BaseException:
            await program.close()
            raise

    try:
        yield Ask(begin)
    except OSError as error:
        yield err(f"{world.now():%Y/%m/%d %H:%M:%S} {error}\n")
        return 1
    while (line := (yield Ask(program.next))) is not None:
        yield line
    return program.code


def text(body: str, status: int = 200) -> http.Response:
    return http.Response(status=status, body=body.encode())


def problem(message: str, status: int) -> http.Response:
    """As Go's http.Error answers."""
    headers = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
    return http.Response(status=status, headers=headers, body=f"{message}\n".encode())


NOT_FOUND = problem("404 page not found", 404)


def routed(routes: dict[str, Handler], otherwise: Handler | None = None) -> Handler:
    """By exact path."""

    async def handle(request: http.Request) -> http.Response:
        handler = routes.get(request.path, otherwise)
        return NOT_FOUND if handler is None else await handler(request)

    return handle


def _sniffed(body: bytes) -> str:
    start = body[:512].lstrip().lower()
    if _PAGE.match(start):
        return "text/html; charset=utf-8"
    return "application/octet-stream" if b"\0" in start else "text/plain; charset=utf-8"


def server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """From PEM. Python's ssl reads files only, so it passes through one for a moment. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.NamedTemporaryFile(prefix="kubemu-tls-") as file:
        file.write(key + b"\n" + certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def seconds_of(duration: str) -> float:
    """Of Go's notation: 1h2m3.5s, 100ms. Raises ValueError."""
    if duration == "0":
        return 0.0
    if not duration or re.sub(_PART, "", duration):
        raise ValueError(f'time: invalid duration "{duration}"')
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, duration))
