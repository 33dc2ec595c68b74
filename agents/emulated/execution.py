"""Runs of the small shell with somebody at the other end: exec, attach, and the terminal between.

A run is driven by a task that awaits what it asks for. Output waits in a bounded queue, so a reader that is
slow slows the run down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agents import http
from agents.emulated.world import Ask, Input, Interrupted, Run, Sleep, Spawn, Step, Write
from broker.supervision import Tasks, settled

SHORTEST_SLEEP_S = 0.01
"""A busy loop in a script gets this much time per round."""
MAX_QUEUED = 64
KILLED = 137


async def drive(
    run: Run,
    write: Callable[[Write], Awaitable[None]],
    spawn: Callable[[Run], None],
    *,
    interrupt: asyncio.Event | None = None,
    step: Step | None = None,
) -> int:
    """To the end, from a step that was taken already or from the start; the exit code."""
    sent: object = None
    thrown: BaseException | None = None
    while True:
        try:
            if thrown is not None:
                step = run.throw(thrown)
            elif step is None:
                step = run.send(sent)
        except StopIteration as done:
            return int(done.value)
        sent, thrown = None, None
        try:
            match step:
                case Write():
                    await write(step)
                case Sleep(seconds=seconds):
                    await _sleep(max(seconds, SHORTEST_SLEEP_S), interrupt)
                case Ask(work=work):
                    sent = await work()
                case Spawn(run=beside):
                    spawn(beside)
        except (OSError, http.BadAnswer) as error:
            thrown = error
        if interrupt is not None and interrupt.is_set():
            interrupt.clear()
            thrown = Interrupted()
        step = None


async def _sleep(seconds: float, interrupt: asyncio.Event | None) -> None:
    if interrupt is None:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await interrupt.wait()
    except TimeoutError:
        return


class Terminal:
    """A line discipline: echoes what is typed, hands over whole lines, knows Ctrl-C, Ctrl-D and erase."""

    def __init__(self, echo: Callable[[bytes], None]) -> None:
        self._echo = echo
        self._line = bytearray()
        self.interrupt = asyncio.Event()

    def typed(self, data: bytes) -> tuple[bytes, bool]:
        """What becomes readable, and whether the input ends."""
        ready = bytearray()
        for code in data:
            match code:
                case 0x03:
                    self._line.clear()
                    self._echo(b"^C")
                    self.interrupt.set()
                case 0x04:
                    if not self._line:
                        return bytes(ready), True
                    ready += self._line
                    self._line.clear()
                case 0x08 | 0x7F:
                    if self._line:
                        self._line.pop()
                        self._echo(b"\b \b")
                case 0x15:
                    self._echo(b"\b \b" * len(self._line))
                    self._line.clear()
                case 0x0A | 0x0D:
                    self._echo(b"\r\n")
                    ready += self._line + b"\n"
                    self._line.clear()
                case _:
                    self._line.append(code)
                    self._echo(bytes((code,)))
        return bytes(ready), False


class Pipe:
    """Bytes on their way to a standard input."""

    def __init__(self) -> None:
        self._data = b""
        self._ended = False
        self._moved = asyncio.Event()

    def feed(self, data: bytes) -> None:
        self._data += data
        self._moved.set()

    def end(self) -> None:
        self._ended = True
        self._moved.set()

    def nudge(self) -> None:
        """Wakes the reader with nothing to read: it is interrupted."""
        self._moved.set()

    async def more(self) -> bytes:
        """Empty at the end."""
        if not self._data and not self._ended:
            self._moved.clear()
            await self._moved.wait()
        data, self._data = self._data, b""
        return data


class EmulatedExecution:
    """Implements `agents.runtime.Execution` for a run, or for whoever is attached to the main process."""

    def __init__(
        self, *, stdin: Pipe | None, tty: bool, resized: Callable[[int, int], None] | None = None
    ) -> None:
        """Gets its own pipe as `stdin`; None: nothing can be written."""
        self._pipe = stdin
        self._output: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(MAX_QUEUED)
        self._tty = tty
        self._resized = resized
        self.terminal = Terminal(self._echo) if tty else None
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    def start(self, name: str, run: Run, tasks: Tasks) -> None:
        self._task = tasks.start(name, self._run(name, run, tasks))

    async def _run(self, name: str, run: Run, tasks: Tasks) -> None:
        beside = Tasks()

        async def apart(other: Run) -> None:
            await drive(other, self.put, spawn)

        def spawn(other: Run) -> None:
            beside.start(f"{name} &", apart(other))

        interrupt = self.terminal.interrupt if self.terminal is not None else None
        try:
            code = await drive(run, self.put, spawn, interrupt=interrupt)
            await self._output.put(None)
            self._finish(code)
        finally:
            run.close()
            await beside.close()
            self._finish(KILLED)

    def _finish(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    def when_done(self, action: Callable[[], object]) -> None:
        self._code.add_done_callback(lambda _: action())

    async def put(self, step: Write) -> None:
        await self._output.put(self._shown(step.stream, step.data))

    def offer(self, stream: str, data: bytes) -> None:
        """Output of the main process; what a slow reader can't take is lost to it, as on a terminal."""
        if not self._output.full():
            self._output.put_nowait(self._shown(stream, data))

    def ended(self, code: int) -> None:
        """The main process ended."""
        if self._output.full():
            self._output.get_nowait()
        self._output.put_nowait(None)
        self._finish(code)

    def _shown(self, stream: str, data: bytes) -> tuple[str, bytes]:
        if self._tty:
            return "stdout", data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return stream, data

    def _echo(self, data: bytes) -> None:
        if not self._output.full():
            self._output.put_nowait(("stdout", data))

    async def write(self, data: bytes) -> None:
        if self._pipe is None:
            return
        if self.terminal is None:
            self._pipe.feed(data)
            return
        ready, ended = self.terminal.typed(data)
        if ready:
            self._pipe.feed(ready)
        if self.terminal.interrupt.is_set():
            self._pipe.nudge()
        if ended:
            self._pipe.end()

    async def end_input(self) -> None:
        if self._pipe is not None:
            self._pipe.end()

    def resize(self, columns: int, rows: int) -> None:
        if self._resized is not None:
            self._resized(columns, rows)

    async def read(self) -> tuple[str, bytes] | None:
        return await self._output.get()

    async def wait(self) -> int:
        await settled(self._code)
        return self._code.result()

    async def kill(self) -> None:
        self._finish(KILLED)
        if self._task is not None:
            self._task.cancel()
            await settled(self._task)


def input_of(pipe: Pipe | None, terminal: Terminal | None) -> Input:
    if pipe is None:
        return Input()
    if terminal is None:
        return Input(more=pipe.more)

    async def more() -> bytes:
        data = b""
        while not data and not terminal.interrupt.is_set():
            data = await pipe.more()
            if not data:
                break
        return data

    return Input(more=more)
