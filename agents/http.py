"""HTTP/1.1 over the streams of a `Network`: the emulated containers' server and the probes' client.

h11 keeps the protocol, this module only moves bytes, so the same code runs on real sockets and in the
simulation's memory network. Short messages without surprises, as probes send them each second, are looked up
in `agents.plainhttp` first. TLS is for the client only, and on real sockets only (see `agents.prober`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext

import h11

from agents import plainhttp
from agents.network import Network

MAX_BODY_BYTES = 1 << 20
"""What a request may carry, and what a client keeps of an answer (the kubelet keeps 10 KiB of a probe's)."""
_CHUNK = 65536
_BODILESS = (204, 304)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Headers = Sequence[tuple[str, str]]


class BadAnswer(Exception):
    """The peer does not speak HTTP/1.1, or closed in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    peer: str = ""
    peer_port: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int
    headers: Headers = ()
    body: bytes = b""
    close: bool = False

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


Handler = Callable[[Request], Awaitable[Response | None]]
"""None closes the connection without an answer."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    """Answers the requests of one connection until either side closes it."""
    name = writer.get_extra_info("peername")
    peer = (str(name[0]), int(name[1])) if name else ("", 0)
    try:
        while data := await reader.read(_CHUNK):
            plain = plainhttp.request_in(data)
            if plain is None:
                await _serve_others(data, reader, writer, handler, peer)
                return
            if not await _serve_plain(plain, writer, handler, peer):
                return
    except OSError:
        return


async def _serve_plain(
    plain: plainhttp.PlainRequest, writer: asyncio.StreamWriter, handler: Handler, peer: tuple[str, int]
) -> bool:
    request = Request(
        method=plain.method, target=plain.target, headers=plain.headers, peer=peer[0], peer_port=peer[1]
    )
    response = await handler(request)
    if response is None:
        return False
    headers = tuple(_answer_headers(response))
    head = plainhttp.answer_head(response.status, _PHRASES.get(response.status, ""), headers, plain.last)
    writer.write(head if plain.method == "HEAD" or response.status in _BODILESS else head + response.body)
    await writer.drain()
    return not (plain.last or response.close)


async def _serve_others(
    data: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handler: Handler,
    peer: tuple[str, int],
) -> None:
    """From a message on that is not plain; `data` is its beginning."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_CHUNK)
    connection.receive_data(data)
    try:
        while await _serve_one(connection, reader, writer, handler, peer):
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await _answer(
                connection, writer, Response(status=400, body=b"400 Bad Request", close=True), "GET"
            )


async def _serve_one(
    connection: h11.Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handler: Handler,
    peer: tuple[str, int],
) -> bool:
    head = await _next(connection, reader)
    if not isinstance(head, h11.Request):
        return False
    if connection.they_are_waiting_for_100_continue:
        writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
    body = await _body(connection, reader)
    request = Request(
        method=head.method.decode(),
        target=head.target.decode("latin-1"),
        headers=_text_headers(head.headers),
        body=body,
        peer=peer[0],
        peer_port=peer[1],
    )
    response = await handler(request)
    if response is None:
        return False
    await _answer(connection, writer, response, request.method)
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _answer(
    connection: h11.Connection, writer: asyncio.StreamWriter, response: Response, method: str
) -> None:
    headers = _answer_headers(response)
    reason = _PHRASES.get(response.status, "")
    data = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason.encode()))
    body = b"" if method == "HEAD" else response.body
    data = (data or b"") + (connection.send(h11.Data(data=body)) or b"" if body else b"")
    writer.write(data + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()


def _answer_headers(response: Response) -> list[tuple[str, str]]:
    headers = [("content-length", str(len(response.body))), *response.headers]
    if response.close:
        headers.append(("connection", "close"))
    return headers


async def fetch(
    network: Network,
    ip: str,
    port: int,
    request: Request,
    *,
    source_ip: str = "",
    limit_bytes: int = MAX_BODY_BYTES,
    tls: SSLContext | None = None,
) -> Response:
    """One request on a connection of its own. Raises OSError, BadAnswer; has no deadline of its own.
    `limit_bytes`: what is kept of the answer's body. `tls`: where the connection has a socket to encrypt."""
    reader, writer = await network.connect(ip, port, source_ip=source_ip)
    try:
        if tls is not None and writer.get_extra_info("socket") is not None:
            await writer.start_tls(tls)
        if request.method == "GET" and not request.body:
            return await _exchange_plain(reader, writer, request, limit_bytes)
        return await _exchange(reader, writer, request, limit_bytes)
    except h11.RemoteProtocolError as error:
        raise BadAnswer("malformed HTTP response") from error
    finally:
        writer.close()


async def _exchange_plain(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, limit_bytes: int
) -> Response:
    headers = (*request.headers, ("connection", "close"))
    writer.write(plainhttp.request_head(request.method, request.target, headers))
    await writer.drain()
    data = await reader.read(_CHUNK)
    plain = plainhttp.answer_in(data)
    if plain is None:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
        connection.send(h11.Request(method=request.method, target=request.target, headers=list(headers)))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        return await _answer_of(connection, reader, limit_bytes)
    return Response(status=plain.status, headers=plain.headers, body=plain.body[:limit_bytes])


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, limit_bytes: int
) -> Response:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
    headers = [*request.headers, ("connection", "close")]
    if request.body:
        headers.append(("content-length", str(len(request.body))))
    data = connection.send(h11.Request(method=request.method, target=request.target, headers=headers))
    if request.body:
        data = (data or b"") + (connection.send(h11.Data(data=request.body)) or b"")
    writer.write((data or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    return await _answer_of(connection, reader, limit_bytes)


async def _answer_of(connection: h11.Connection, reader: asyncio.StreamReader, limit_bytes: int) -> Response:
    head = await _next(connection, reader)
    while isinstance(head, h11.InformationalResponse):
        head = await _next(connection, reader)
    if not isinstance(head, h11.Response):
        raise BadAnswer("EOF")
    body = await _body(connection, reader, limit_bytes)
    return Response(status=head.status_code, headers=_text_headers(head.headers), body=body)


async def _body(
    connection: h11.Connection, reader: asyncio.StreamReader, limit_bytes: int = MAX_BODY_BYTES
) -> bytes:
    """The rest of the message; what exceeds the limit is read and forgotten."""
    parts: list[bytes] = []
    size = 0
    while isinstance(event := await _next(connection, reader), h11.Data):
        if size < limit_bytes:
            parts.append(bytes(event.data))
            size += len(event.data)
    return b"".join(parts)[:limit_bytes]


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.receive_data(await reader.read(_CHUNK))


def _text_headers(headers: object) -> list[tuple[str, str]]:
    assert isinstance(headers, Sequence)
    return [(bytes(k).decode("latin-1"), bytes(v).decode("latin-1")) for k, v in headers]
