"""What repeats on the wire is understood once: short HTTP messages that come in one piece.

Probes send the same few bytes each second and get the same few bytes back. h11 decides here as well, but on
a connection of its own per distinct message, and its verdict is remembered. Whatever is not a whole GET or
HEAD, or not a whole answer, gives None: the caller goes on with h11 on the real connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import h11

MAX_BYTES = 2048
"""Longer messages are not remembered."""
_REMEMBERED = 512
_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlainRequest:
    method: str
    target: str
    headers: _Pairs
    last: bool
    """The client wants the connection closed after the answer."""


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    status: int
    headers: _Pairs
    body: bytes


def request_in(data: bytes) -> PlainRequest | None:
    """The one request without a body that `data` is."""
    if len(data) > MAX_BYTES or not data.endswith(b"\r\n\r\n") or not data.startswith((b"GET ", b"HEAD ")):
        return None
    return _request_in(data)


@lru_cache(_REMEMBERED)
def _request_in(data: bytes) -> PlainRequest | None:
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(data)
        head, end = connection.next_event(), connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(head, h11.Request) or not isinstance(end, h11.EndOfMessage):
        return None
    if connection.their_state not in (h11.DONE, h11.MUST_CLOSE) or connection.trailing_data[0]:
        return None
    last = connection.their_state is h11.MUST_CLOSE
    return PlainRequest(head.method.decode(), head.target.decode("latin-1"), _text(head.headers), last)


def answer_in(data: bytes) -> PlainAnswer | None:
    """The one answer to a GET that `data` is."""
    if len(data) > MAX_BYTES:
        return None
    return _answer_in(data)


@lru_cache(_REMEMBERED)
def _answer_in(data: bytes) -> PlainAnswer | None:
    connection = h11.Connection(h11.CLIENT)
    asked = h11.Request(method="GET", target="/", headers=[("host", "any"), ("connection", "close")])
    connection.send(asked)
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        head, body, event = connection.next_event(), b"", connection.next_event()
        while isinstance(event, h11.Data):
            body, event = body + bytes(event.data), connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(head, h11.Response) or not isinstance(event, h11.EndOfMessage):
        return None
    return PlainAnswer(head.status_code, _text(head.headers), body)


@lru_cache(_REMEMBERED)
def request_head(method: str, target: str, headers: _Pairs) -> bytes:
    """The bytes of a request without a body. Raises h11.LocalProtocolError."""
    connection = h11.Connection(h11.CLIENT)
    head = connection.send(h11.Request(method=method, target=target, headers=list(headers)))
    return (head or b"") + (connection.send(h11.EndOfMessage()) or b"")


@lru_cache(_REMEMBERED)
def answer_head(status: int, reason: str, headers: _Pairs, last: bool) -> bytes:
    """The bytes in front of an answer's body. `last`: the client asked to close the connection."""
    connection = h11.Connection(h11.SERVER)
    closing = b"Connection: close\r\n" if last else b""
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: any\r\n" + closing + b"\r\n")
    connection.next_event()
    response = h11.Response(status_code=status, headers=list(headers), reason=reason.encode())
    return connection.send(response) or b""


def _text(headers: Iterable[tuple[bytes, bytes]]) -> _Pairs:
    return tuple((bytes(k).decode("latin-1"), bytes(v).decode("latin-1")) for k, v in headers)
