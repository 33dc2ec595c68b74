"""agnhost netexec: an HTTP server (TLS on request) and a UDP server, for looking at the network from a pod.

Over HTTP it tells who asks and who answers, dials further, runs commands of the shell and ends when told to.
SCTP is not there: such a port refuses.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from email.parser import BytesParser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from agents import http
from agents.emulated.execution import drive
from agents.emulated.netcommands import address_of
from agents.emulated.program import (
    Handler,
    Program,
    problem,
    routed,
    seconds_of,
    served,
    server_context,
    text,
)
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Run, Write
from agents.files import exists

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

DIAL_S = 5.0
CERTIFICATE, KEY = "/localhost.crt", "/localhost.key"
"""Where the image has a certificate of its own."""
_FLAGS = (
    "http-port", "udp-port", "sctp-port", "tls-cert-file", "tls-private-key-file", "http-override",
    "udp-listen-addresses", "delay-shutdown",
)  # fmt: skip
_KEPT = "!'()*-._~"


def netexec(shell: Shell, words: list[str]) -> Run:
    given, _ = options(spaced(words, *_FLAGS))

    async def start(program: Program) -> None:
        server = _Netexec(shell, program)
        udp_port = int(given.get("udp-port") or 8081)
        if udp_port != -1:
            await program.serve_udp(udp_port, server.datagram)
            server.ready = True
            program.log("Started UDP server")
        tls = tls_of(shell, given)
        port = int(given.get("http-port") or 8080)
        handler = (
            _overridden(given["http-override"], server.handle)
            if given.get("http-override")
            else server.handle
        )
        await program.serve_http(port, handler, tls=tls)
        program.log(f"Started HTTP server on port {port}")

    return (yield from served(shell.world, start))


def tls_of(shell: Shell, given: dict[str, str]) -> ssl.SSLContext | None:
    """From the files that the flags name. Raises OSError, ssl.SSLError included."""
    if not given.get("tls-cert-file"):
        return None
    return context_of(shell, given["tls-cert-file"], given.get("tls-private-key-file", ""))


def context_of(shell: Shell, certificate: str, key: str) -> ssl.SSLContext:
    """Of files in the container, or of those that the image has. Raises OSError."""
    files = shell.world.files
    if (certificate, key) == (CERTIFICATE, KEY) and not exists(files, certificate):
        from agents.emulated.agnhost.localhost import localhost  # 60 ms that hardly any agent needs

        return server_context(*localhost())
    return server_context(files.read(certificate), files.read(key))


def _overridden(target: str, handler: Handler) -> Handler:
    async def handle(request: http.Request) -> http.Response:
        again = http.Request(method="GET", target=target, peer=request.peer, peer_port=request.peer_port)
        return await handler(again)

    return handle


class _Netexec:
    def __init__(self, shell: Shell, program: Program) -> None:
        self._shell = shell
        self._program = program
        self.ready = False
        self.handle = routed(
            {
                "/clientip": self._clientip,
                "/dial": self._dial,
                "/echo": self._echo,
                "/exit": self._exit,
                "/healthz": self._healthz,
                "/hostName": self._hostname,
                "/hostname": self._hostname,
                "/redirect": self._redirect,
                "/shell": self._run,
                "/shutdown": self._shutdown,
                "/upload": self._upload,
            },
            self._root,
        )

    async def _root(self, request: http.Request) -> http.Response:
        self._program.log("GET /")
        now = self._shell.world.now()
        return text(f"NOW: {now:%Y-%m-%d %H:%M:%S.%f}000 +0000 UTC m=+0.000000001")

    async def _clientip(self, request: http.Request) -> http.Response:
        self._program.log("GET /clientip")
        return text(f"{request.peer}:{request.peer_port}")

    async def _hostname(self, request: http.Request) -> http.Response:
        self._program.log(f"GET {request.path}")
        return text(self._shell.world.hostname)

    async def _healthz(self, request: http.Request) -> http.Response:
        self._program.log("GET /healthz")
        return http.Response(status=200 if self.ready else 412)

    async def _echo(self, request: http.Request) -> http.Response:
        values = form(request)
        code = values.get("code", "")
        self._program.log(f"GET /echo?msg={values.get('msg', '')}&code={code}")
        if code and not code.isdigit():
            return text(f"argument 'code' must be an integer or empty, got \"{code}\"\n")
        return text(values.get("msg", ""), int(code or 200))

    async def _redirect(self, request: http.Request) -> http.Response:
        values = form(request)
        location, code = values.get("location", ""), values.get("code", "")
        self._program.log(f"GET /redirect?location={location}&code={code}")
        if code and not code.isdigit():
            return text(f"argument 'code' must be an integer or empty, got \"{code}\"\n")
        return redirection(location, int(code or 302))

    async def _exit(self, request: http.Request) -> http.Response:
        values = form(request)
        code, wait, timeout = (values.get(name, "") for name in ("code", "wait", "timeout"))
        self._program.log(f"GET /exit?code={code}&timeout={timeout}&wait={wait}")
        for name, value in (("timeout", timeout), ("wait", wait)):
            try:
                seconds_of(value or "0")
            except ValueError:
                return text(f"argument '{name}' must be a valid golang duration or empty, got \"{value}\"\n")
        if code and not code.isdigit():
            return text(f"argument 'code' must be an integer [0-127] or empty, got \"{code}\"\n")
        await asyncio.sleep(seconds_of(wait or "0"))
        self._program.exit(int(code or 0))
        if not timeout:
            raise ConnectionResetError  # gone before it answers
        return text("")

    async def _shutdown(self, request: http.Request) -> http.Response:
        self._program.log("GET /shutdown")
        self._program.exit(0)
        raise ConnectionResetError

    async def _dial(self, request: http.Request) -> http.Response:
        values = form(request)
        host, port, asked = (values.get(name, "") for name in ("host", "port", "request"))
        protocol = values.get("protocol", "").lower() or "http"
        tries = values.get("tries") or "1"
        self._program.log(
            f"GET /dial?host={host}&protocol={values.get('protocol', '')}&port={port}&request={asked}"
            f"&tries={values.get('tries', '')}"
        )
        if not tries.isdigit():
            wrong = f'strconv.Atoi: parsing "{tries}": invalid syntax'
            return problem(f"tries parameter is invalid. {wrong}", 400)
        if not asked:
            return problem("request parameter not specified. <nil>", 400)
        if protocol not in ("http", "udp"):
            return problem(f"unsupported protocol. {protocol}", 400)
        ip = address_of(self._shell.world, host)
        if ip is None or not port.isdigit():
            return problem(f"host and/or port param are invalid. lookup {host}: no such host", 400)
        responses: list[str] = []
        errors: list[str] = []
        for _ in range(int(tries)):
            try:
                answer = await (self._dial_udp if protocol == "udp" else self._dial_http)(
                    ip, int(port), asked
                )
                responses.append(answer)
            except (OSError, http.BadAnswer) as error:
                answer = ""
                errors.append(_unreached(protocol, ip, port, asked, error))
        output = {"responses": responses} if answer else {}
        return text(json.dumps({**({"errors": errors} if errors else {}), **output}, separators=(",", ":")))

    async def _dial_http(self, ip: str, port: int, asked: str) -> str:
        wanted = http.Request(method="GET", target=f"/{asked}", headers=[("Host", f"{ip}:{port}")])
        async with asyncio.timeout(DIAL_S):
            return (await self._program.fetch(ip, port, wanted)).body.decode(errors="replace")

    async def _dial_udp(self, ip: str, port: int, asked: str) -> str:
        answer = await self._program.ask_datagram(ip, port, asked.encode(), DIAL_S)
        return answer.decode(errors="replace")

    async def _run(self, request: http.Request) -> http.Response:
        values = form(request)
        command = values.get("shellCommand") or values.get("cmd", "")
        self._program.log(f"GET /shell?cmd={command}")
        written = bytearray()

        async def put(step: Write) -> None:
            written.extend(step.data)

        code = await drive(self._shell.child().execute(["sh", "-c", command]), put, lambda run: run.close())
        output = {"error": f"exit status {code}"} if code else {}
        if written:
            output["output"] = written.decode(errors="replace")
        return text(json.dumps(output, separators=(",", ":")))

    async def _upload(self, request: http.Request) -> http.Response:
        self._program.log("GET /upload")
        head = f"Content-Type: {request.header('content-type')}\r\n\r\n".encode()
        message = BytesParser().parsebytes(head + request.body)
        for part in message.walk():
            content = part.get_payload(decode=True)
            if part.get_param("name", header="content-disposition") == "file" and isinstance(content, bytes):
                return self._kept(content)
        self._program.log("Unable to upload file: http: no such file")
        return text(json.dumps({"error": "Unable to upload file."}, separators=(",", ":")))

    def _kept(self, content: bytes) -> http.Response:
        files = self._shell.world.files
        files.make_directory("/uploads", parents=True)
        path = f"/uploads/upload{len(files.names('/uploads')):09d}"
        files.write(path, content, mode=0o700)
        self._program.log(f"Wrote upload to {path}")
        return text(json.dumps({"output": path}, separators=(",", ":")), 201)

    def datagram(self, data: bytes, sender: tuple[str, int]) -> bytes | None:
        received = data.decode(errors="replace").strip()
        match received.lower().split(" ", 1):
            case ["hostname"]:
                self._program.log("Sending udp hostName response")
                return self._shell.world.hostname.encode()
            case ["echo", said]:
                self._program.log(f"Echoing {said}")
                return said.encode()
            case ["clientip"]:
                self._program.log(f"Sending back clientip to {sender[0]}:{sender[1]}")
                return f"{sender[0]}:{sender[1]}".encode()
        if received:
            self._program.log(f"Unknown udp command received: {received.lower()}")
        return None


def form(request: http.Request) -> dict[str, str]:
    """The first value of each parameter, of a form's body before the query's."""
    values: dict[str, str] = {}
    texts = [urlsplit(request.target).query]
    if request.header("content-type").startswith("application/x-www-form-urlencoded"):
        texts.insert(0, request.body.decode(errors="replace"))
    for query in texts:
        for name, found in parse_qs(query, keep_blank_values=True).items():
            values.setdefault(name, found[0])
    return values


def redirection(location: str, status: int) -> http.Response:
    shown = quote(location, safe="/?:@&=+$,;%#" + _KEPT)
    phrase = {301: "Moved Permanently", 302: "Found", 303: "See Other", 307: "Temporary Redirect"}
    body = f'<a href="{shown}">{phrase.get(status, "Permanent Redirect")}</a>.\n\n'
    headers = (("Location", shown), ("Content-Type", "text/html; charset=utf-8"))
    return http.Response(status=status, headers=headers, body=body.encode())


def _unreached(protocol: str, ip: str, port: str, asked: str, error: Exception) -> str:
    if protocol == "udp":
        return f"reading from udp connection failed. err:'read udp {ip}:{port}: i/o timeout'"
    if isinstance(error, TimeoutError):
        waiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return f'Get "http://{ip}:{port}/{asked}": {waiting}'
    why = "EOF" if isinstance(error, http.BadAnswer) else f"dial tcp {ip}:{port}: connect: {_reason(error)}"
    return f'Get "http://{ip}:{port}/{asked}": {why}'


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
