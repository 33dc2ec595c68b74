"""What a stream to a pod does: log lines, a command's run, bytes to and from a port.

Divergence: an interactive shell is not emulated; exec runs the command and gives its output at the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from agents.host import Host, PodView
from agents.runtime import Container, LogLine
from agents.streams import AgentStream, Refused, StreamBroken
from broker.clock import Clock
from broker.supervision import start_task
from cluster.api.objects import parse_timestamp
from cluster.api.wire import StreamOpen

STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
_PIECE = 32 << 10


async def serve(
    message: StreamOpen, stream: AgentStream, view: PodView | None, host: Host, clock: Clock
) -> None:
    """Runs one stream to its end."""
    try:
        if view is None:
            raise Refused(404, f"pod with uid {message.uid} is not on this node")
        match message.kind:
            case "log":
                await _log(message, stream, view, clock)
            case "exec":
                await _exec(message, stream, view)
            case "attach":
                await _attach(message, stream, view)
            case "portforward" | "proxy":
                await _forward(message, stream, view, host)
            case _:
                raise Refused(400, f"unknown kind of stream: {message.kind}")
        stream.close()
    except Refused as refusal:
        stream.close(str(refusal), refusal.code)
    except StreamBroken:
        stream.end()


# --- logs


def _instance(message: StreamOpen, view: PodView, *, previous: bool = False) -> Container:
    name = message.container
    if previous:
        if name not in view.previous:
            raise Refused(400, f'previous terminated container "{name}" in pod "{view.name}" not found')
        return view.previous[name]
    if name not in view.current:
        why = "ContainerCreating"
        raise Refused(400, f'container "{name}" in pod "{view.name}" is waiting to start: {why}')
    return view.current[name]


async def _log(message: StreamOpen, stream: AgentStream, view: PodView, clock: Clock) -> None:
    options = message.options
    container = _instance(message, view, previous=bool(options.get("previous")))
    timestamps = bool(options.get("timestamps"))
    left: int | None = options.get("limit_bytes")
    new = container.follow() if options.get("follow") else None
    stream.opened()
    data = b"".join(_encoded(line, timestamps) for line in _chosen(container.logs(), options, clock.now()))
    if left is not None:
        data = data[:left]
        left -= len(data)
    if data:
        await stream.send(STDOUT, data)
    if new is None:
        return
    async for line in new:
        data = _encoded(line, timestamps)
        if left is not None:
            data = data[:left]
            left -= len(data)
        await stream.send(STDOUT, data)
        if stream.closed or left == 0:
            return


def _chosen(lines: Iterable[LogLine], options: dict[str, Any], now: datetime) -> list[LogLine]:
    since: datetime | None = None
    if options.get("since_seconds") is not None:
        since = now - timedelta(seconds=options["since_seconds"])
    elif options.get("since_time"):
        since = parse_timestamp(options["since_time"])
    chosen = [line for line in lines if since is None or line.time >= since]
    tail = options.get("tail_lines")
    if tail is None:
        return chosen
    return chosen[-tail:] if tail > 0 else []


def _encoded(line: LogLine, timestamps: bool) -> bytes:
    start = line.time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if timestamps else ""
    return f"{start}{line.text}\n".encode()


# --- exec and attach


async def _exec(message: StreamOpen, stream: AgentStream, view: PodView) -> None:
    name = message.container
    if name not in view.current or view.ended:
        raise Refused(500, f'container not found ("{name}")')
    container = view.current[name]
    command = list(message.options.get("command") or ())
    stream.opened()
    code, output = await container.execute(command, timeout_s=None)
    if message.options.get("tty"):
        output = output.replace(b"\n", b"\r\n")
    if output:
        await stream.send(STDOUT, output)
    await stream.send(ERROR, json.dumps(_exec_status(code)).encode(), eof=True)


def _exec_status(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def _attach(message: StreamOpen, stream: AgentStream, view: PodView) -> None:
    container = _instance(message, view)
    new = container.follow()
    stream.opened()
    async for line in new:
        await stream.send(STDERR if line.stream == "stderr" else STDOUT, f"{line.text}\n".encode())
    await stream.send(ERROR, json.dumps(_exec_status(0)).encode(), eof=True)


# --- ports


async def _forward(message: StreamOpen, stream: AgentStream, view: PodView, host: Host) -> None:
    port = int(message.options.get("port", 0))
    try:
        reader, writer = await host.network.connect(view.ip, port)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Refused(502, f"dial tcp {view.ip}:{port}: connect: {why}") from error
    stream.opened()
    upward = start_task(f"stream {message.id} up", _pump_up(reader, stream))
    try:
        await _pump_down(stream, writer)
        await upward
    finally:
        upward.cancel()
        writer.close()


async def _pump_up(reader: asyncio.StreamReader, stream: AgentStream) -> None:
    try:
        while data := await reader.read(_PIECE):
            await stream.send(STDOUT, data)
        await stream.send(STDOUT, b"", eof=True)
    except (OSError, StreamBroken):
        stream.close("the connection to the pod broke", 502)
        return
    stream.end_input()


async def _pump_down(stream: AgentStream, writer: asyncio.StreamWriter) -> None:
    """Until the client closes, or the pod's side ended."""
    while (received := await stream.receive()) is not None:
        _, data, eof = received
        try:
            writer.write(data)
            await writer.drain()
            if eof and writer.can_write_eof():
                writer.write_eof()
        except OSError:
            return
