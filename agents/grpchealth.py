"""The gRPC health protocol, `grpc.health.v1.Health/Check`, both ends of it: one call over HTTP/2.

The kubelet probes with it and emulated servers answer it. h2 does HTTP/2 without I/O; what gRPC puts on top
is little for a unary call: a length before each message, the outcome in the trailers. The two messages have
one field each, so they are written and read here. Compression and TLS are not spoken, as the kubelet doesn't.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from agents.network import Network

PATH = "/grpc.health.v1.Health/Check"
MAX_BYTES = 1 << 16
"""Of a request or an answer; a longer one is nonsense."""
_PIECE = 1 << 14
_CONTENT_TYPE = ("content-type", "application/grpc")
_PREFIX_BYTES = 5


class Health(Enum):
    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Code(Enum):
    """Outcomes of a call that matter here, and their names in Go's messages."""

    OK = 0, "OK"
    UNKNOWN = 2, "Unknown"
    NOT_FOUND = 5, "NotFound"
    UNIMPLEMENTED = 12, "Unimplemented"
    UNAVAILABLE = 14, "Unavailable"


class CallFailed(Exception):
    """The call ended with another outcome than OK."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(f"rpc error: code = {name} desc = {message}")
        self.code, self.message = code, message


Answer = Callable[[str], Health | None]
"""The health of a service, empty for the server as a whole; None: there is no such service."""


# --- asking


@dataclass(slots=True)
class _Reply:
    status: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False


async def check(network: Network, host: str, port: int, service: str, user_agent: str) -> Health:
    """Raises OSError where there is no connection, CallFailed where the server can't tell. No deadline of its
    own."""
    reader, writer = await network.connect(host, port)
    try:
        reply = await _call(reader, writer, f"{host}:{port}", service, user_agent)
    except (h2.exceptions.ProtocolError, ConnectionError, EOFError) as error:
        raise _failed(Code.UNAVAILABLE, f"connection error: {error}") from error
    finally:
        writer.close()
    return _health_of(reply)


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str, user_agent: str
) -> _Reply:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", authority),
        _CONTENT_TYPE,
        ("te", "trailers"),
        ("user-agent", user_agent),
    ]
    connection.send_headers(stream, headers)
    connection.send_data(stream, _framed(_text_field(service)), end_stream=True)
    writer.write(connection.data_to_send())
    await writer.drain()
    reply = _Reply()
    while not reply.ended:
        data = await reader.read(_PIECE)
        if not data:
            raise EOFError("the server closed the connection")
        for event in connection.receive_data(data):
            _take(event, reply, connection)
        writer.write(connection.data_to_send())
    return reply


def _take(event: h2.events.Event, reply: _Reply, connection: h2.connection.H2Connection) -> None:
    match event:
        case h2.events.ResponseReceived() | h2.events.TrailersReceived():
            reply.headers.update((str(name), str(value)) for name, value in event.headers or ())
        case h2.events.DataReceived():
            reply.data += event.data or b""
            connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            if len(reply.data) > MAX_BYTES:
                raise EOFError("the answer is too long")
        case h2.events.StreamReset():
            raise EOFError("the server reset the call")
        case h2.events.ConnectionTerminated():
            raise EOFError("the server ended the connection")
        case h2.events.StreamEnded():
            reply.ended = True


def _health_of(reply: _Reply) -> Health:
    status = reply.headers.get(":status", "")
    if status != "200":
        unimplemented = status == "404"
        code = Code.UNIMPLEMENTED if unimplemented else Code.UNKNOWN
        raise _failed(code, f"unexpected HTTP status code received from server: {status}")
    outcome = reply.headers.get("grpc-status", "")
    if outcome != "0":
        number = int(outcome) if outcome.isdigit() else Code.UNKNOWN.value[0]
        name = next((code.value[1] for code in Code if code.value[0] == number), f"Code({number})")
        raise CallFailed(number, name, reply.headers.get("grpc-message", ""))
    body = bytes(reply.data[_PREFIX_BYTES:])
    try:
        return Health(_number_field(body))
    except ValueError as error:
        raise _failed(Code.UNKNOWN, f"the answer can't be read: {error}") from error


def _failed(code: Code, message: str) -> CallFailed:
    return CallFailed(*code.value, message)


# --- answering


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """One connection, until the client closes it or talks nonsense."""
    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    calls: dict[int, tuple[str, bytearray]] = {}
    try:
        writer.write(connection.data_to_send())
        while data := await reader.read(_PIECE):
            for event in connection.receive_data(data):
                _answer_event(event, connection, calls, answer)
            writer.write(connection.data_to_send())
            await writer.drain()
    except (h2.exceptions.ProtocolError, OSError):
        pass  # the client's fault, or it is gone
    writer.close()


def _answer_event(
    event: h2.events.Event,
    connection: h2.connection.H2Connection,
    calls: dict[int, tuple[str, bytearray]],
    answer: Answer,
) -> None:
    match event:
        case h2.events.RequestReceived():
            headers = {str(name): str(value) for name, value in event.headers or ()}
            calls[event.stream_id or 0] = (headers.get(":path", ""), bytearray())
        case h2.events.DataReceived():
            stream = event.stream_id or 0
            connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            if stream in calls and len(calls[stream][1]) < MAX_BYTES:
                calls[stream][1].extend(event.data or b"")
        case h2.events.StreamReset():
            calls.pop(event.stream_id or 0, None)
        case h2.events.StreamEnded():
            stream = event.stream_id or 0
            path, body = calls.pop(stream)
            _respond(connection, stream, path, bytes(body), answer)


def _respond(
    connection: h2.connection.H2Connection, stream: int, path: str, body: bytes, answer: Answer
) -> None:
    head = [(":status", "200"), _CONTENT_TYPE]
    if path != PATH:
        text = f"unknown method {path.rpartition('/')[2]}"
        _refuse(connection, stream, head, Code.UNIMPLEMENTED, text)
        return
    try:
        health = answer(_text_in(body[_PREFIX_BYTES:]))
    except ValueError as error:
        _refuse(connection, stream, head, Code.UNKNOWN, str(error))
        return
    if health is None:
        _refuse(connection, stream, head, Code.NOT_FOUND, "unknown service")
        return
    connection.send_headers(stream, head)
    connection.send_data(stream, _framed(bytes([0x08, health.value]) if health.value else b""))
    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def _refuse(
    connection: h2.connection.H2Connection, stream: int, head: list[tuple[str, str]], code: Code, text: str
) -> None:
    outcome = [("grpc-status", str(code.value[0])), ("grpc-message", text)]
    connection.send_headers(stream, head + outcome, end_stream=True)


# --- the messages


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _text_field(text: str) -> bytes:
    """Field 1, a string; nothing where it is empty."""
    data = text.encode()
    return b"\x0a" + _varint(len(data)) + data if data else b""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _text_in(message: bytes) -> str:
    """Raises ValueError."""
    if not message:
        return ""
    if message[0] != 0x0A:
        raise ValueError("not a health check request")
    length, start = _read_varint(message, 1)
    return message[start : start + length].decode()


def _number_field(message: bytes) -> int:
    """Field 1, a number. Raises ValueError."""
    if not message:
        return 0
    if message[0] != 0x08:
        raise ValueError("not a health check response")
    return _read_varint(message, 1)[0]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return number, at
    raise ValueError("a number without an end")
