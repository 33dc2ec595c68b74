"""exec and attach: the remote command protocol over WebSocket, versions 5, 4 and 1.

Each message begins with a byte that names its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final Status as
JSON, 4 terminal sizes as JSON. Version 5 adds 255 from the client, "no more on this channel", which is how
the end of stdin gets through.

Clients of before WebSocket use SPDY (`remotespdy`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from broker.supervision import Tasks
from cluster.api.errors import BadRequest, Cause, InternalError, Invalid
from cluster.api.objects import Object
from cluster.server.http.exchange import Exchange
from cluster.server.http.options import flag
from cluster.server.http.podlog import container_of
from cluster.server.http.remotespdy import run_over_spdy, version_of
from cluster.server.http.upgraded import wants_spdy
from cluster.server.streams import NodeStreams, Stream

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
FIRST, FIRST_TEXT = "channel.k8s.io", "base64.channel.k8s.io"
"""The first version: it tells of failures only, in plain text; the second form of it is base64 in text."""
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MESSAGE_LIMIT = 4 * 1024 * 1024
_SUCCESS: Object = {"metadata": {}, "status": "Success"}


def require_websocket(exchange: Exchange) -> None:
    if exchange.request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequest("Upgrade request required")


async def run_command(exchange: Exchange, pod: Object, kind: str, nodes: NodeStreams) -> web.StreamResponse:
    """`kind` is exec or attach."""
    spdy = wants_spdy(exchange)
    if not spdy:
        require_websocket(exchange)
    query = exchange.query
    options: dict[str, Any] = {name: flag(query, name) for name in ("stdin", "stdout", "stderr", "tty")}
    if kind == "exec":
        options["command"] = _command(exchange)
    if not (options["stdin"] or options["stdout"] or options["stderr"]):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    if options["tty"]:
        options["stderr"] = False
    container = container_of(pod, query.get("container", ""))
    version = version_of(exchange) if spdy else ""
    stream = await nodes.open(pod, kind=kind, container=container, options=options)
    if spdy:
        return (await run_over_spdy(exchange, version, options, stream)).response
    protocols = (V5, V4, FIRST, FIRST_TEXT)
    socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=MESSAGE_LIMIT)
    tasks = Tasks()
    try:
        await socket.prepare(exchange.request)
        await _send(socket, _first_channel(options), b"")
        tasks.start("stdin", _pass_in(socket, stream))
        await _pass_out(socket, stream)
    finally:
        await stream.close()
        await tasks.close()
        await socket.close()
    return socket


def _plain(text: bytes) -> bytes:
    """A message of the base64 form. What isn't base64 says nothing."""
    try:
        return bytes([text[0] - ord("0")]) + b64decode(text[1:])
    except ValueError:
        return bytes([STDIN])


def _command(exchange: Exchange) -> list[str]:
    command = exchange.request.rel_url.query.getall("command", [])
    if not command:
        cause = Cause("FieldValueRequired", "Required value", "command")
        raise Invalid('PodExecOptions "" is invalid: command: Required value', causes=[cause])
    return list(command)


def _first_channel(options: dict[str, Any]) -> int:
    """An empty message on the first channel tells the client that the streams stand."""
    return STDOUT if options["stdout"] else STDERR if options["stderr"] else ERROR


async def _pass_out(socket: web.WebSocketResponse, stream: Stream) -> None:
    """From the node to the client, until both know how the command ended."""
    told = False
    while (received := await stream.receive()) is not None:
        channel, data, _ = received
        if data and not socket.closed:
            await _send(socket, channel, data)
        told = told or channel == ERROR
        if told:
            return
    if not told and not socket.closed:
        status = InternalError(stream.error).status() if stream.error else _SUCCESS
        await _send(socket, ERROR, orjson.dumps(status))


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    """In the form of the version that was agreed on; without any it is the first."""
    if socket.ws_protocol in (V5, V4):
        await socket.send_bytes(bytes([channel]) + data)
        return
    if channel == ERROR and data:
        status = orjson.loads(data)
        if status.get("status") == "Success":
            return
        data = status.get("message", "").encode()
    if socket.ws_protocol == FIRST_TEXT:
        await socket.send_str(f"{channel}{b64encode(data).decode()}")
    else:
        await socket.send_bytes(bytes([channel]) + data)


async def _pass_in(socket: web.WebSocketResponse, stream: Stream) -> None:
    """From the client to the node; a client that goes away ends the stream."""
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            break
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if not data:
            continue
        if socket.ws_protocol == FIRST_TEXT:
            data = _plain(data)
        channel = data[0]
        try:
            if channel == CLOSE and len(data) > 1:
                await stream.send(data[1], b"", eof=True)
            elif channel in (STDIN, RESIZE) and len(data) > 1:
                await stream.send(channel, data[1:])
        except ConnectionError:
            return
    await stream.close()
