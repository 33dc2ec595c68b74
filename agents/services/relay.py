"""Passes HTTP requests on to endpoints, as a reverse proxy does: heads are rewritten, bodies flow through.

One connection of a client at a time (`serve`). A `Guide` says for each request where it goes; the endpoint
gets a connection of its own for it. Endpoints that can't be reached are given up for the guide's next choice.
When both sides agree to another protocol (WebSockets), what follows is passed on as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import h11

from agents.network import Network
from agents.services import pump

IDLE_S = 75.0
"""How long a client may be silent between two requests."""
CONNECT_S = 5.0
LINGER_S = 5.0
ANSWER_S = 60.0
"""Between two signs of life of an endpoint."""
TRIES = 3
_CHUNK = 65536
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade", b"expect")
)  # fmt: skip

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of the proxy itself."""

    status: int
    text: str = ""
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request goes on to, and how it is changed on the way."""

    ip: str
    port: int
    target: str
    headers: Sequence[tuple[str, str]]
    """Set in place of the client's own of these names."""
    limit_bytes: int
    """Of the request's body; 0: none."""


class Guide(Protocol):
    def way(self, head: h11.Request, client: str, attempt: int) -> Way | Answer:
        """`attempt` counts from 0; a further one asks for another endpoint."""


class _TooLarge(Exception):
    """The request's body exceeds what the way allows."""


class _Silent(Exception):
    """The endpoint does not answer in time."""


async def serve(
    network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, guide: Guide
) -> None:
    """All requests of one connection, one after the other."""
    peer = writer.get_extra_info("peername")
    near = _Side(h11.Connection(h11.SERVER), reader, writer)
    client = str(peer[0]) if peer else ""
    try:
        while await _one(network, near, guide, client):
            near.http.start_next_cycle()
    except h11.RemoteProtocolError as error:
        if near.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await _say(near, Answer(error.error_status_hint, "Bad Request"), "GET")
    except (OSError, _Silent):
        return
    if near.http.their_state is h11.SEND_BODY:
        await near.linger()


class _Side:
    """A connection with its protocol."""

    def __init__(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = http
        self._reader = reader
        self.writer = writer

    @property
    def stream(self) -> pump.Stream:
        return self._reader, self.writer

    async def next(self, within_s: float) -> object:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                async with asyncio.timeout(within_s):
                    self.http.receive_data(await self._reader.read(_CHUNK))
            except TimeoutError:
                raise _Silent from None

    async def linger(self) -> None:
        """Takes what the peer still sends, for a while: closing on it would take our answer away from it."""
        try:
            async with asyncio.timeout(LINGER_S):
                self.writer.write_eof()
                while await self._reader.read(_CHUNK):
                    pass
        except OSError:
            return

    async def send(self, *events: h11.Event) -> None:
        for event in events:
            self.writer.write(self.http.send(event) or b"")
        await self.writer.drain()


async def _one(network: Network, near: _Side, guide: Guide, client: str) -> bool:
    """Whether another request may follow."""
    head = await near.next(IDLE_S)
    if not isinstance(head, h11.Request):
        return False
    way, far = await _reached(network, guide, head, client)
    if isinstance(way, Answer):
        await _say(near, way, head.method.decode())
        return near.http.our_state is h11.DONE and near.http.their_state is h11.DONE
    assert far is not None
    try:
        if near.http.they_are_waiting_for_100_continue:
            await near.send(h11.InformationalResponse(status_code=100, headers=[]))
        try:
            await _pass_request(near, far, head, way)
            return await _pass_answer(near, far, head)
        except _TooLarge:
            await _say(near, Answer(413, "Request Entity Too Large"), "GET")
        except _Silent:
            if near.http.our_state is not h11.SEND_RESPONSE:
                raise
            await _say(near, Answer(504, "Gateway Time-out"), "GET")
        except (h11.RemoteProtocolError, OSError):
            if near.http.our_state is not h11.SEND_RESPONSE or near.http.their_state is h11.ERROR:
                raise
            await _say(near, Answer(502, "Bad Gateway"), "GET")
        return near.http.our_state is h11.DONE and near.http.their_state is h11.DONE
    finally:
        far.writer.close()


async def _reached(
    network: Network, guide: Guide, head: h11.Request, client: str
) -> tuple[Way | Answer, _Side | None]:
    """A way whose endpoint takes connections, and the connection."""
    failed = Answer(502, "Bad Gateway")
    for attempt in range(TRIES):
        way = guide.way(head, client, attempt)
        if isinstance(way, Answer):
            return way, None
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await network.connect(way.ip, way.port)
        except TimeoutError:
            failed = Answer(504, "Gateway Time-out")
        except OSError:
            failed = Answer(502, "Bad Gateway")
        else:
            return way, _Side(h11.Connection(h11.CLIENT), reader, writer)
    return failed, None


# --- there


async def _pass_request(near: _Side, far: _Side, head: h11.Request, way: Way) -> None:
    own = {name.lower().encode() for name, _ in way.headers}
    kept = [(name, value) for name, value in _passed_on(head.headers) if name not in own]
    more = [(name.encode(), value.encode("latin-1", "replace")) for name, value in way.headers]
    length = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
    if way.limit_bytes and length > way.limit_bytes:
        raise _TooLarge
    await far.send(
        h11.Request(
            method=head.method,
            target=way.target.encode("latin-1", "replace"),
            headers=[*kept, *more, *_framing(head)],
        )
    )
    size = 0
    while isinstance(event := await near.next(ANSWER_S), h11.Data):
        size += len(event.data)
        if way.limit_bytes and size > way.limit_bytes:
            raise _TooLarge
        await far.send(h11.Data(data=event.data))
    await far.send(h11.EndOfMessage())


def _framing(head: h11.Request) -> Headers:
    """How the message ends, and whether another protocol is wished for."""
    found: Headers = []
    chunked = any(n == b"transfer-encoding" and v.lower() == b"chunked" for n, v in head.headers)
    if chunked:
        found.append((b"transfer-encoding", b"chunked"))
    upgrade = next((value for name, value in head.headers if name == b"upgrade"), None)
    if upgrade is not None:
        return [*found, (b"upgrade", upgrade), (b"connection", b"upgrade")]
    return [*found, (b"connection", b"close")]


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if name not in _HOP_BY_HOP]


# --- and back


async def _pass_answer(near: _Side, far: _Side, head: h11.Request) -> bool:
    answer = await far.next(ANSWER_S)
    while isinstance(answer, h11.InformationalResponse) and answer.status_code != 101:
        answer = await far.next(ANSWER_S)
    if isinstance(answer, h11.InformationalResponse):
        await _switch(near, far, answer)
        return False
    if not isinstance(answer, h11.Response):
        raise h11.RemoteProtocolError("the endpoint closed the connection")
    headers = _passed_on(answer.headers)
    await near.send(h11.Response(status_code=answer.status_code, headers=headers, reason=answer.reason))
    while isinstance(event := await far.next(ANSWER_S), h11.Data):
        if head.method != b"HEAD":
            await near.send(h11.Data(data=event.data))
    await near.send(h11.EndOfMessage())
    return near.http.our_state is h11.DONE and near.http.their_state is h11.DONE


async def _switch(near: _Side, far: _Side, answer: h11.InformationalResponse) -> None:
    """Both sides speak another protocol from now on."""
    await near.send(
        h11.InformationalResponse(status_code=101, headers=list(answer.headers), reason=answer.reason)
    )
    near.writer.write(far.http.trailing_data[0])
    far.writer.write(near.http.trailing_data[0])
    await pump.join(near.stream, far.stream)


async def _say(near: _Side, answer: Answer, method: str) -> None:
    """An answer of the proxy's own; a body that still comes is not waited for."""
    reason = HTTPStatus(answer.status).phrase
    body = f"{answer.status} {answer.text or reason}\n".encode()
    headers = [("content-type", "text/plain"), ("content-length", str(len(body))), *answer.headers]
    if near.http.their_state is not h11.DONE:
        event = near.http.next_event() if near.http.their_state is h11.SEND_BODY else None
        if not isinstance(event, h11.EndOfMessage):
            headers.append(("connection", "close"))
    await near.send(
        h11.Response(status_code=answer.status, headers=headers, reason=reason.encode()),
        *([h11.Data(data=body)] if method != "HEAD" else []),
        h11.EndOfMessage(),
    )
