"""What a stream to a pod does: log lines, a command's run, bytes to and from a port.

Logs that are followed go on with the container's next instance, as long as the pod lives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from agents.host import Host, PodView
from agents.runtime import Container, ExecProblem, Execution, LogLine
from agents.streams import AgentStream, Refused, StreamBroken
from broker.clock import Clock
from broker.supervision import start_task
from cluster.api.objects import parse_timestamp
from cluster.api.wire import StreamOpen

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
RESTART_LOOK_S = 0.2
"""How often a followed log looks for the next instance."""
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
        if view.waiting.get(name) and name in view.current:
            return view.current[name]  # what runs next waits: this is the one that ended last
        if name not in view.previous:
            raise Refused(400, f'previous terminated container "{name}" in pod "{view.name}" not found')
        return view.previous[name]
    if name not in view.current:
        why = view.waiting.get(name) or "ContainerCreating"
        raise Refused(400, f'container "{name}" in pod "{view.name}" is waiting to start: {why}')
    return view.current[name]


async def _log(message: StreamOpen, stream: AgentStream, view: PodView, clock: Clock) -> None:
    options = message.options
    container = _instance(message, view, previous=bool(options.get("previous")))
    writer = _LogWriter(stream, bool(options.get("timestamps")), options.get("limit_bytes"))
    new = container.follow() if options.get("follow") else None
    stream.opened()
    await writer.write(_chosen(container.logs(), options, clock.now()))
    while new is not None and not writer.full:
        async for line in new:
            await writer.write([line])
            if stream.closed or writer.full:
                return
        following = await _next_instance(view, message.container, container, stream)
        if following is None:
            return
        container, new = following, following.follow()
        await writer.write(container.logs())


async def _next_instance(
    view: PodView, name: str, container: Container, stream: AgentStream
) -> Container | None:
    """The instance that comes after this one; None where none will."""
    while not view.ended and not stream.closed and view.restarts.get(name, False):
        current = view.current[name]
        if current is not container:
            return current
        await asyncio.sleep(RESTART_LOOK_S)
    return None


class _LogWriter:
    def __init__(self, stream: AgentStream, timestamps: bool, limit: int | None) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._left = limit

    @property
    def full(self) -> bool:
        return self._left == 0

    async def write(self, lines: Iterable[LogLine]) -> None:
        data = b"".join(_encoded(line, self._timestamps) for line in lines)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        if data:
            await self._stream.send(STDOUT, data)


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
    return f"{start}{line.written}".encode()


# --- exec and attach


async def _exec(message: StreamOpen, stream: AgentStream, view: PodView) -> None:
    name = message.container
    if name not in view.current or view.ended:
        raise Refused(500, f'container not found ("{name}")')
    options = message.options
    stdin, tty = bool(options.get("stdin")), bool(options.get("tty"))
    stream.opened()
    try:
        execution = await view.current[name].begin(list(options.get("command") or ()), stdin=stdin, tty=tty)
    except ExecProblem as problem:
        await stream.send(ERROR, json.dumps(_exec_refused(str(problem))).encode(), eof=True)
        return
    await _converse(execution, stream)


async def _attach(message: StreamOpen, stream: AgentStream, view: PodView) -> None:
    options = message.options
    container = _instance(message, view)
    execution = container.attach(stdin=bool(options.get("stdin")), tty=bool(options.get("tty")))
    stream.opened()
    await _converse(execution, stream)


async def _converse(execution: Execution, stream: AgentStream) -> None:
    """Until the command has ended and all its output was sent, or the client is gone."""
    downward = start_task(f"stream {stream.id} down", _input(execution, stream))
    try:
        while (written := await execution.read()) is not None:
            await stream.send(STDERR if written[0] == "stderr" else STDOUT, written[1])
        code = await execution.wait()
        await stream.send(ERROR, json.dumps(_exec_status(code)).encode(), eof=True)
    finally:
        downward.cancel()
        await execution.kill()


async def _input(execution: Execution, stream: AgentStream) -> None:
    while (received := await stream.receive()) is not None:
        channel, data, eof = received
        if channel == RESIZE:
            _resize(execution, data)
        elif channel == STDIN:
            if data:
                await execution.write(data)
            if eof:
                await execution.end_input()
    if stream.closed:
        await execution.kill()


def _resize(execution: Execution, data: bytes) -> None:
    try:
        size = json.loads(data)
        execution.resize(int(size["Width"]), int(size["Height"]))
    except (ValueError, KeyError, TypeError):
        return  # nonsense of a client, worth nothing


def _exec_refused(why: str) -> dict[str, Any]:
    message = f"error executing command in container: {why}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


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
