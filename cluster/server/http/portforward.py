"""Port forwarding: connections from a client's machine to ports of a pod.

Over the WebSocket comes a SPDY connection (see `spdy`); older clients upgrade to SPDY itself. Each
forwarded connection opens an error stream
and a data stream with the same request id; the data stream becomes a stream to the node, and what goes
wrong on the way is written to the error stream. Clients that don't offer this get the older form
(`channelforward`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import WSMsgType, web

from broker.supervision import Tasks
from cluster.api.errors import ApiError, BadRequest
from cluster.api.objects import Object
from cluster.server.http.channelforward import forward_channels
from cluster.server.http.exchange import Exchange
from cluster.server.http.remotecommand import MESSAGE_LIMIT, require_websocket
from cluster.server.http.spdy import Data, Opened, Ping, Reset, Spdy, SpdyError, data_frame, ping_frame
from cluster.server.http.upgraded import upgrade, versions_offered, wants_spdy
from cluster.server.streams import NodeStreams, Stream

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
VERSION = "portforward.k8s.io"
CONNECTION_LIMIT = 1000
_PIECE_BYTES = 32 * 1024
_DOWN = 0


class Carrier(Protocol):
    """What carries the SPDY frames."""

    async def send_bytes(self, data: bytes, /) -> None: ...


async def forward_ports(exchange: Exchange, pod: Object, nodes: NodeStreams) -> web.StreamResponse:
    if wants_spdy(exchange):
        return await _forward_over_spdy(exchange, pod, nodes)
    require_websocket(exchange)
    if PROTOCOL not in exchange.request.headers.get("Sec-WebSocket-Protocol", ""):
        return await forward_channels(exchange, pod, nodes)
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), compress=False, max_msg_size=MESSAGE_LIMIT)
    await socket.prepare(exchange.request)
    forwarding = _Forwarding(socket, pod, nodes)
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await forwarding.received(message.data)
    except SpdyError as error:
        await socket.close(code=1002, message=str(error).encode()[:120])
    finally:
        await forwarding.close()
        await socket.close()
    return socket


async def _forward_over_spdy(exchange: Exchange, pod: Object, nodes: NodeStreams) -> web.StreamResponse:
    offered = versions_offered(exchange)
    if offered and VERSION not in offered:
        raise BadRequest(f"unable to upgrade: unable to negotiate protocol: client supports {offered}")
    connection = await upgrade(exchange, VERSION)
    forwarding = _Forwarding(connection, pod, nodes)
    try:
        while data := await connection.next():
            await forwarding.received(data)
    except (SpdyError, ConnectionError):
        return connection.response
    finally:
        await forwarding.close()
        await connection.finish()
    return connection.response


class _Forwarding:
    """The streams of one client."""

    def __init__(self, socket: Carrier, pod: Object, nodes: NodeStreams) -> None:
        self._socket = socket
        self._pod = pod
        self._nodes = nodes
        self._spdy = Spdy()
        self._tasks = Tasks()
        self._errors: dict[str, int] = {}
        """Error streams by request id, until their data stream is there."""
        self._connections: dict[int, _Connection] = {}

    async def received(self, data: bytes) -> None:
        for frame in self._spdy.received(data):
            match frame:
                case Opened(stream, headers):
                    await self._open(stream, headers)
                case Data(stream, body, fin):
                    if stream in self._connections:
                        await self._connections[stream].pass_down(body, fin)
                case Reset(stream):
                    if stream in self._connections:
                        await self._connections.pop(stream).close()
                case Ping(number):
                    await self._socket.send_bytes(ping_frame(number))

    async def close(self) -> None:
        await self._tasks.close()
        for connection in self._connections.values():
            await connection.close()

    async def _open(self, stream: int, headers: Mapping[str, str]) -> None:
        request = headers.get("requestid", "")
        await self._socket.send_bytes(self._spdy.reply(stream))
        if headers.get("streamtype") == "error":
            self._errors[request] = stream
            return
        error_stream = self._errors.pop(request, 0)
        if len(self._connections) >= CONNECTION_LIMIT:
            await self._fail(stream, error_stream, "too many connections")
            return
        try:
            port = int(headers.get("port", ""))
            node_stream = await self._nodes.open(
                self._pod, kind="portforward", container="", options={"port": port}
            )
        except ValueError:
            await self._fail(stream, error_stream, f"{headers.get('port', '')!r} is not a port")
        except ApiError as error:
            await self._fail(stream, error_stream, error.message)
        else:
            connection = _Connection(self._socket, stream, error_stream, node_stream)
            self._connections[stream] = connection
            self._tasks.start(f"forward-{stream}", self._run(connection))

    async def _fail(self, stream: int, error_stream: int, why: str) -> None:
        await self._socket.send_bytes(data_frame(error_stream, why.encode(), fin=True))
        await self._socket.send_bytes(data_frame(stream, b"", fin=True))

    async def _run(self, connection: _Connection) -> None:
        try:
            await connection.pass_up()
        except ConnectionError:
            return  # the client is gone; `close` ends the rest
        finally:
            self._connections.pop(connection.stream, None)
            await connection.close()


class _Connection:
    """One forwarded connection."""

    def __init__(self, socket: Carrier, stream: int, error_stream: int, node_stream: Stream) -> None:
        self.stream = stream
        self._socket = socket
        self._error_stream = error_stream
        self._node_stream = node_stream

    async def pass_up(self) -> None:
        """From the pod to the client, until the pod has no more."""
        while (received := await self._node_stream.receive()) is not None:
            _, data, eof = received
            for start in range(0, len(data), _PIECE_BYTES):
                piece = data[start : start + _PIECE_BYTES]
                await self._socket.send_bytes(data_frame(self.stream, piece))
            if eof:
                break
        await self._socket.send_bytes(data_frame(self.stream, b"", fin=True))
        if self._error_stream:
            why = self._node_stream.error.encode()
            await self._socket.send_bytes(data_frame(self._error_stream, why, fin=True))

    async def pass_down(self, data: bytes, fin: bool) -> None:
        try:
            await self._node_stream.send(_DOWN, data, eof=fin)
        except ConnectionError:
            await self._node_stream.close()

    async def close(self) -> None:
        await self._node_stream.close()
