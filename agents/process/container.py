"""A container whose command really runs, as processes of this machine.

Its limits are a control group's where the machine grants one. Elsewhere its memory is watched: a container
that exceeds its limit is killed at the next look and shows OOMKilled. It dies with the agent, by the
parent-death signal of its namespace's first process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.emulated.execution import EmulatedExecution
from agents.emulated.log import ContainerLog
from agents.process import usage
from agents.process.cgroups import ControlGroup
from agents.process.child import Child
from agents.process.isolation import Identity, Root, unsharing
from agents.runtime import (
    Answer,
    ExecProblem,
    Exit,
    Launch,
    LogLine,
    ResizeProblem,
    Usage,
    limit_below_usage,
    no_such_program,
)
from agents.termination import with_message
from broker.clock import Clock
from broker.supervision import Tasks, settled
from cluster.api import quantity
from cluster.api.objects import Object

MEMORY_LOOK_S = 0.25
KILLED = 128 + signal.SIGKILL
SETTLE_S, SETTLE_LOOK_S = 20.0, 0.005


class Attached(EmulatedExecution):
    """Somebody at the container's own process."""

    def __init__(self, main: Child, stdin: bool) -> None:
        super().__init__(stdin=None, tty=False)
        self._main = main
        self._stdin = stdin

    async def write(self, data: bytes) -> None:
        if self._stdin:
            await self._main.write(data)

    async def end_input(self) -> None:
        if self._stdin:
            await self._main.end_input()

    def resize(self, columns: int, rows: int) -> None:
        self._main.resize(columns, rows)


class ProcessContainer:
    """Implements `agents.runtime.Container`."""

    def __init__(
        self,
        id: str,
        launch: Launch,
        root: Root,
        *,
        environment: Mapping[str, str],
        identity: Identity,
        hostname: str,
        clock: Clock,
        tasks: Tasks,
        on_exit: Callable[[Exit], None],
        limits: ControlGroup | None = None,
    ) -> None:
        self.id = id
        self._limits = limits
        self._launch = launch
        self._root = root
        self._environment = environment
        self._identity = identity
        self._hostname = hostname
        self._clock = clock
        self._tasks = tasks
        self._on_exit = on_exit
        self._directory = launch.container.get("workingDir") or "/"
        self._log = ContainerLog(clock.now)
        self._main = Child(tasks)
        self._attached: list[Attached] = []
        self._children: dict[Child, None] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kill_at = float("inf")
        self._out_of_memory = False
        self._seen = (0.0, 0.0)
        """CPU seconds and the time of the last look."""
        self._memory_limit = _memory_limit(launch.container.get("resources") or {})
        self._timer: asyncio.TimerHandle | None = None
        self._kill_timer: asyncio.TimerHandle | None = None

    async def start(self, words: Sequence[str]) -> None:
        """Raises OSError."""
        spec = self._launch.container
        tty = bool(spec.get("tty"))
        await self._main.start(
            self._root.command(words, self._directory, self._identity, self._hostname, tty),
            environment=self._environment,
            directory=self._place(),
            stdin=bool(spec.get("stdin")),
            tty=tty,
        )
        if unsharing():
            await self._settled_in()
        self._seen = (0.0, self._clock.monotonic())
        self._tasks.start(f"run {self.id}", self._follow_main())
        if self._memory_limit is not None:
            self._watch_memory()

    async def _settled_in(self) -> None:
        """Until the process is in its own root: before that, a command would be run on the machine."""
        for _ in range(int(SETTLE_S / SETTLE_LOOK_S)):
            pid = self._first()
            if self._main.ended or (pid != self._main.pid and usage.root_of(pid) not in ("", "/")):
                return
            await asyncio.sleep(SETTLE_LOOK_S)
        self._kill()
        raise OSError("its namespaces can't be set up")

    def _place(self) -> Path | None:
        return None if unsharing() else self._root.directory(self._directory)

    async def _follow_main(self) -> None:
        while (written := await self._main.read()) is not None:
            stream, data = written
            self._log.write(stream, data.decode(errors="replace"))
            for attached in self._attached:
                attached.offer(stream, data)
        await self._finish(await self._main.wait())

    async def _finish(self, code: int) -> None:
        for timer in (self._timer, self._kill_timer):
            if timer is not None:
                timer.cancel()
        self._main.signal_group(signal.SIGKILL)
        self._log.close()
        for attached in self._attached:
            attached.ended(code)
        for child in list(self._children):
            await child.kill()
        if self._ended.done():
            return
        self._ended.set_result(None)
        if self._exceeded():
            self._out_of_memory, code = True, KILLED
        reason = "OOMKilled" if self._out_of_memory else "Error" if code else "Completed"
        exit = Exit(code=code, reason=reason)
        self._on_exit(with_message(exit, self._launch.container, self._read_message, self._log.lines()))

    def _read_message(self, path: str) -> bytes:
        return (self._root.directory(str(Path(path).parent)) / Path(path).name).read_bytes()

    def _watch_memory(self) -> None:
        if self._ended.done() or self._memory_limit is None:
            return
        if self._exceeded():
            self._out_of_memory = True
            self._kill()
            return
        self._timer = asyncio.get_running_loop().call_later(MEMORY_LOOK_S, self._watch_memory)

    def _exceeded(self) -> bool:
        """One process too much for the memory is the end of all, as with the kubelet's groups."""
        if self._limits is not None:
            return self._limits.killed_for_memory()
        return self._memory_limit is not None and usage.memory_bytes(self._pids()) > self._memory_limit

    def _pids(self) -> list[int]:
        return usage.tree(self._first()) if not self._ended.done() else []

    def _first(self) -> int:
        """The container's own process, below the one that opened its namespaces."""
        below = usage.children(self._main.pid) if unsharing() else []
        return below[0] if below else self._main.pid

    def _kill(self) -> None:
        usage.send(self._first(), signal.SIGKILL)
        self._main.signal(signal.SIGKILL)
        self._main.signal_group(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        if self._ended.done():
            return
        now = self._clock.monotonic()
        first_time = self._kill_at == float("inf")
        if now + grace_s < self._kill_at:
            self._kill_at = now + grace_s
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            if grace_s > 0:
                self._kill_timer = asyncio.get_running_loop().call_later(grace_s, self._kill)
            else:
                self._kill()
        if first_time and grace_s > 0:
            usage.send(self._first(), self._stop_signal())
        await settled(self._ended)

    def _stop_signal(self) -> int:
        name = (self._launch.container.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
        known = getattr(signal, name, None)
        return known if isinstance(known, signal.Signals) else signal.SIGTERM

    async def execute(self, command: Sequence[str], *, timeout_s: float | None) -> tuple[int, bytes]:
        execution = await self.begin(command, stdin=False, tty=False)
        output = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                while (written := await execution.read()) is not None:
                    output += written[1]
                return await execution.wait(), bytes(output)
        finally:
            await execution.kill()
            self._children.pop(execution, None)

    async def begin(self, command: Sequence[str], *, stdin: bool, tty: bool) -> Child:
        if self._ended.done():
            raise ExecProblem("container is not running")
        name = command[0] if command else ""
        if not self._has_program(name):
            raise no_such_program(self.id, name)
        child = Child(self._tasks)
        words = self._root.entering(self._first(), command, self._directory, self._identity, tty)
        try:
            await child.start(
                words, environment=self._environment, directory=self._place(), stdin=stdin, tty=tty
            )
        except OSError as error:
            why = f'exec: "{name}": {(error.strerror or str(error)).lower()}'
            raise ExecProblem(f"failed to exec in container: {why}") from error
        self._children[child] = None
        return child

    def _has_program(self, name: str) -> bool:
        """As far as can be told from outside: what is in volumes is not looked at."""
        if "/" not in name:
            return shutil.which(name, path=self._environment["PATH"]) is not None
        mounts = self._launch.container.get("volumeMounts") or ()
        if not name.startswith("/") or any(name.startswith(mount["mountPath"]) for mount in mounts):
            return True
        return os.path.lexists(name) or os.path.lexists(f"{self._root.path}{name}")

    def attach(self, *, stdin: bool, tty: bool) -> Attached:
        attached = Attached(self._main, stdin)
        if self._ended.done():
            attached.ended(0)
        else:
            self._attached.append(attached)
            attached.when_done(lambda: self._attached.remove(attached))
        return attached

    def usage(self) -> Usage:
        pids = self._pids()
        now, spent = self._clock.monotonic(), usage.cpu_seconds(pids)
        before, at = self._seen
        self._seen = (spent, now)
        cores = max(spent - before, 0.0) / (now - at) if now > at else 0.0
        return Usage(cpu_cores=cores, memory_bytes=usage.memory_bytes(pids), asked=True)

    def storage_bytes(self) -> int:
        return self._root.used() + self._log.bytes()

    async def resize(self, resources: Object) -> None:
        limit = _memory_limit(resources)
        used = usage.memory_bytes(self._pids())
        if limit is not None and used > limit:
            raise ResizeProblem(limit_below_usage(limit, used))
        if self._limits is not None:
            try:
                self._limits.limit(resources)
            except OSError as error:
                raise ResizeProblem(str(error)) from error
        watched, self._memory_limit = self._memory_limit is not None, limit
        if limit is not None and not watched:
            self._watch_memory()

    def probe_answer(self, kind: str) -> Answer | None:
        return None

    def behave(self, behaviour: Mapping[str, Any]) -> None:
        """Real programs behave as they do."""

    def logs(self) -> Sequence[LogLine]:
        return self._log.lines()

    def follow(self) -> AsyncIterator[LogLine]:
        return self._log.follow()


def _memory_limit(resources: Object) -> int | None:
    limit = (resources.get("limits") or {}).get("memory")
    return quantity.parse(limit).value() if limit is not None else None
