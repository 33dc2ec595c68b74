"""One child process of a launcher: started, watched, killed, suspended.

A child never outlives its launcher: the kernel kills it when the launcher dies (Linux' parent-death
signal), whatever the launcher died of. Its output goes to a log file.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker.embedded import die_with_parent, send_signal

STOP_PATIENCE_S = 5.0
"""How long a child may take to end after SIGTERM before it is killed."""


def _prepare() -> None:
    """Runs in the child between fork and exec: a SIGHUP before it has its handler does not end it."""
    die_with_parent()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Child:
    """A process by name. It can be started again after it ended."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C at the terminal reaches the launcher only
                preexec_fn=_prepare,
            )

    def signal(self, number: signal.Signals) -> None:
        """Does nothing where the process has ended."""
        if self._process is not None:
            send_signal(self._process, number)

    async def wait(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after `STOP_PATIENCE_S`."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), STOP_PATIENCE_S)
        except TimeoutError:
            await self.kill()

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for an error message."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""
