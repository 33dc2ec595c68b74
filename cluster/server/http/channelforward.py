"""Port forwarding in its older WebSocket form, which the Python clients speak: v4.channel.k8s.io.

The ports stand in the query. The n-th port has two channels: 2n carries its bytes in both directions, 2n+1
what goes wrong. The first message on each is the port number, two bytes, little end first. One WebSocket is
one connection to each of its ports.
"""

from __future__ import annotations

from struct import pack

from aiohttp import WSMsgType, web

from broker.supervision import Tasks
from cluster.api.errors import ApiError, BadRequest
from cluster.api.objects import Object
from cluster.server.http.exchange import Exchange
from cluster.server.http.remotecommand import MESSAGE_LIMIT, V4
from cluster.server.streams import NodeStreams, Stream

_DOWN = 0
_PIECE_BYTES = 32 * 1024
PORT_LIMIT = 100


async def forward_channels(exchange: Exchange, pod: Object, nodes: NodeStreams) -> web.StreamResponse:
    ports = _ports(exchange)
    socket = web.WebSocketResponse(protocols=(V4,), compress=False, max_msg_size=MESSAGE_LIMIT)
    tasks = Tasks()
    streams: dict[int, Stream] = {}
    try:
        await socket.prepare(exchange.request)
        for number, port in enumerate(ports):
            for channel in (2 * number, 2 * number + 1):
                await socket.send_bytes(bytes([channel]) + pack("<H", port))
            await _connect(socket, pod, nodes, number, port, streams)
        for number, stream in streams.items():
            tasks.start(f"forward-{ports[number]}", _pass_up(socket, number, stream))
        await _pass_down(socket, streams)
    finally:
        for stream in streams.values():
            await stream.close()
        await tasks.close()
        await socket.close()
    return socket


def _ports(exchange: Exchange) -> list[int]:
    given = [
        part
        for text in exchange.request.rel_url.query.getall("ports", [])
        for part in text.split(",")
        if part
    ]
    if not given:
        raise BadRequest('query parameter "ports" is required')
    for text in given:
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise BadRequest(f"unable to parse {text!r} as a port")
    if len(given) > PORT_LIMIT:
        raise BadRequest(f"at most {PORT_LIMIT} ports can be forwarded")
    return [int(text) for text in given]


async def _connect(
    socket: web.WebSocketResponse,
    pod: Object,
    nodes: NodeStreams,
    number: int,
    port: int,
    streams: dict[int, Stream],
) -> None:
    try:
        streams[number] = await nodes.open(pod, kind="portforward", container="", options={"port": port})
    except ApiError as error:
        await socket.send_bytes(bytes([2 * number + 1]) + error.message.encode())


async def _pass_up(socket: web.WebSocketResponse, number: int, stream: Stream) -> None:
    """From the pod to the client; when the pod has no more, the client is told by the end of everything."""
    try:
        while (received := await stream.receive()) is not None:
            _, data, eof = received
            for start in range(0, len(data), _PIECE_BYTES):
                await socket.send_bytes(bytes([2 * number]) + data[start : start + _PIECE_BYTES])
            if eof:
                break
        if stream.error:
            await socket.send_bytes(bytes([2 * number + 1]) + stream.error.encode())
        await socket.close()
    except ConnectionError:
        return  # the client is gone; the reading side ends the rest


async def _pass_down(socket: web.WebSocketResponse, streams: dict[int, Stream]) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        number, odd = divmod(message.data[0], 2)
        if odd or number not in streams:
            continue
        try:
            await streams[number].send(_DOWN, message.data[1:])
        except ConnectionError:
            return
