"""One process of the operating system: its input, output and terminal, as `agents.runtime.Execution`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker.embedded import send_signal
from broker.supervision import Tasks, settled

PIECE = 32 << 10
MAX_QUEUED = 64
DRAIN_S = 0.5
"""How long output is waited for after the end: a grandchild may hold the pipe open."""


class Child:
    """Implements `agents.runtime.Execution`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._output: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(MAX_QUEUED)
        self._process: asyncio.subprocess.Process | None = None
        self._terminal = -1
        self._readers: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def start(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path | None,
        stdin: bool,
        tty: bool,
    ) -> None:
        """Raises OSError."""
        if tty:
            await self._start_on_terminal(words, environment, directory)
            return
        self._process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
        for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            assert stream is not None
            self._readers.append(self._tasks.start(f"{name} of {self.pid}", self._pump(name, stream)))
        self._tasks.start(f"end of {self.pid}", self._finish())

    async def _start_on_terminal(
        self, words: Sequence[str], environment: Mapping[str, str], directory: Path | None
    ) -> None:
        self._terminal, inner = pty.openpty()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=inner,
                stdout=inner,
                stderr=inner,
                env={"TERM": "xterm", **environment},
                cwd=directory,
            )
        finally:
            os.close(inner)
        os.set_blocking(self._terminal, False)
        self._readers.append(self._tasks.start(f"terminal of {self.pid}", self._pump_terminal()))
        self._tasks.start(f"end of {self.pid}", self._finish())

    async def _pump(self, name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(PIECE):
            await self._output.put((name, data))

    async def _pump_terminal(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._terminal, ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                try:
                    data = os.read(self._terminal, PIECE)
                except BlockingIOError:
                    continue
                except OSError:
                    return  # the other end is closed
                if not data:
                    return
                await self._output.put(("stdout", data))
        finally:
            loop.remove_reader(self._terminal)

    async def _finish(self) -> None:
        assert self._process is not None
        await self._process.wait()
        for reader in self._readers:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await settled(reader)
            except TimeoutError:
                reader.cancel()
        if self._terminal >= 0:
            terminal, self._terminal = self._terminal, -1
            os.close(terminal)
        await self._output.put(None)

    async def write(self, data: bytes) -> None:
        if self._terminal >= 0:
            try:
                os.write(self._terminal, data)
            except OSError:
                return  # gone, or it reads nothing
        elif self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
            except OSError:
                return

    async def end_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    async def read(self) -> tuple[str, bytes] | None:
        return await self._output.get()

    async def wait(self) -> int:
        """As a shell tells it: 128 and the signal's number for a process that a signal ended."""
        assert self._process is not None
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        if self._process is not None:
            send_signal(self._process, number)

    def signal_group(self, number: int) -> None:
        """To the process and all that it started, as far as they stayed in its session."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                return

    async def kill(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self.signal(signal.SIGKILL)
        self.signal_group(signal.SIGKILL)
        while not self._output.empty():
            self._output.get_nowait()
        await self._process.wait()
