"""One instance of an emulated container: follows its profile with timers, no task while nothing happens.

A command that the small shell understands is really interpreted; anything else stands for the image's
server. What ends it: the command's end, a planned exit or crash, the memory limit, SIGTERM and SIGKILL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents import http
from agents.behaviour import Amount, Crash, Profile, TimedAnswer
from agents.emulated import shell
from agents.emulated.entrypoints import command_of, mounts_documents, programs_named
from agents.emulated.execution import EmulatedExecution, Pipe, drive, input_of
from agents.emulated.log import ContainerLog
from agents.emulated.rootfs import mount_volumes, world_of
from agents.emulated.server import Server
from agents.emulated.world import CPU, FOREVER_S, MEMORY, Input, Run, Sleep, Step, World, Write
from agents.files import MemoryFiles, used
from agents.network import AddressInUse, Network
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
from agents.volumes import MountProblem
from broker.clock import Clock
from broker.supervision import Tasks, settled, start_task
from cluster.api import quantity
from cluster.api.objects import Object, timestamp

INDEX = "index.html"
SHORTEST_SLEEP_S = 0.01
"""A busy loop in a script gets this much time per round."""
SIGTERM, SIGKILL = 15, 9


class EmulatedContainer:
    """Implements `agents.runtime.Container` and `agents.emulated.server.Served`."""

    __slots__ = (
        "_attached", "_base", "_clock", "_crash_due", "_driver", "_executions", "_kill_at", "_launch", "_log",
        "_network", "_on_exit", "_overridden", "_script", "_server", "_started", "_stdin", "_tasks",
        "_timers", "_world", "ended", "id", "profile", "serving", "stopping",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        launch: Launch,
        base: Profile,
        *,
        network: Network,
        clock: Clock,
        tasks: Tasks,
        on_exit: Callable[[Exit], None],
        crash_due: Callable[[Launch, Crash, bool], bool],
    ) -> None:
        """`crash_due` tells whether a one-shot crash is still to happen, given whether it was ordered now."""
        self.id = id
        self._launch = launch
        self._base = base
        self._overridden: Mapping[str, Any] = launch.behaviour
        self.profile = base.with_(launch.behaviour)
        self._clock = clock
        self._tasks = tasks
        self._on_exit = on_exit
        self._crash_due = crash_due
        self._started = clock.monotonic()
        self._log = ContainerLog(clock.now)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._server = Server(network, launch, self, lambda: timestamp(clock.now()))
        self._network = network
        self._script: Run | None = None
        self._driver: asyncio.Task[None] | None = None
        """Drives the script once it needs more than timers."""
        self._world: World | None = None
        """Made when a script or somebody else first looks at it."""
        self._stdin: Pipe | None = None
        self._attached: list[EmulatedExecution] = []
        self._executions: dict[EmulatedExecution, None] = {}
        self._kill_at = 0.0
        self.serving = False
        self.stopping = False
        self.ended: asyncio.Future[None] | None = None

    # --- the start

    def run(self) -> None:
        """Runs from now on."""
        self.ended = asyncio.get_running_loop().create_future()
        for line in self.profile.log:
            self.print("stdout", line + "\n")
        command = self.command()
        if command and shell.understands(command):
            self._begin_script(command)
        elif self.profile.start_s:
            self._after("start", self.profile.start_s, self._open)
        else:
            self._open()
        self._plan()
        self._check_crash(ordered=self._launch.restart_count == 0)

    def _check_crash(self, *, ordered: bool) -> None:
        crash = self.profile.crash
        if crash is not None and self._crash_due(self._launch, crash, ordered):
            self._after("crash", 0.0, self.finish, Exit(code=crash.exit_code, reason=crash.reason))

    def command(self) -> list[str]:
        return command_of(self._launch, self.profile)

    def _begin_script(self, command: list[str]) -> None:
        world = self._see()
        world.main = " ".join(command)
        world.signal = self.signal
        spec = self._launch.container
        stdin = Input()
        if spec.get("stdin"):
            self._stdin = Pipe()
            stdin = input_of(self._stdin, None)
            world.terminal = (80, 24) if spec.get("tty") else None
        self._script = shell.run(world, command, stdin)
        self._after("script", 0.0, self._advance)

    def _see(self) -> World:
        """What commands work on. The volumes are prepared by whoever comes here."""
        if self._world is None:
            self._world = world_of(self._launch, self._network, self._clock)
            self._world.before_answer = self._before_answer
            if self.profile.document_root:
                self._world.files.make_directory(self.profile.document_root, parents=True)
                self._world.files.write(f"{self.profile.document_root}/{INDEX}", self._server.index())
            mount_volumes(self._world, self._launch)
        return self._world

    def _open(self) -> None:
        self.serving = True
        if self.profile.serves != "none":
            self._tasks.start(f"serve {self.id}", self._serve())

    async def _serve(self) -> None:
        try:
            await self._server.open()
        except AddressInUse as error:
            self.print("stderr", f"{error}\n")
            self.finish(Exit(code=1, reason="Error"))
        if self._is_over():
            await self._server.close()

    def _plan(self) -> None:
        """Sets the timers of what the profile has in store."""
        profile = self.profile
        if profile.exit is not None:
            planned = profile.exit
            exit = Exit(code=planned.code, reason=planned.reason, message=planned.message)
            self._after("exit", planned.after_s - self._age(), self.finish, exit)
        if profile.log_every_s:
            self._after("log", profile.log_every_s, self._print_again)
        oom_s = self._time_to_oom()
        if oom_s is not None:
            self._after("oom", oom_s, self.finish, Exit(code=137, reason="OOMKilled", signal=0))

    def _after(self, name: str, delay_s: float, action: Callable[..., None], *arguments: Any) -> None:
        handle = asyncio.get_running_loop().call_later(max(delay_s, 0.0), action, *arguments)
        self._timers[name] = handle

    def _age(self) -> float:
        return self._clock.monotonic() - self._started

    def _is_over(self) -> bool:
        return self.ended is not None and self.ended.done()

    def _advance(self) -> None:
        """Runs the script up to its next sleep; a task goes on with it where timers don't do."""
        assert self._script is not None
        while True:
            try:
                step = next(self._script)
            except StopIteration as done:
                self._script_ended(int(done.value))
                return
            if isinstance(step, Write):
                self.print(step.stream, step.data)
            elif isinstance(step, Sleep):
                if step.seconds < FOREVER_S:
                    self._after("script", max(step.seconds, SHORTEST_SLEEP_S), self._advance)
                return
            else:
                self._driver = self._tasks.start(f"script {self.id}", self._drive(self._script, step))
                return

    async def _drive(self, script: Run, step: Step | None) -> None:
        code = await drive(script, self._put, self._spawn, step=step)
        if self._script is script:
            self._script_ended(code)

    async def _put(self, step: Write) -> None:
        self.print(step.stream, step.data)

    def _spawn(self, run: Run) -> None:
        self._tasks.start(f"script {self.id} &", self._beside(run))

    async def _beside(self, run: Run) -> None:
        """A job of the script's; it ends with the container."""
        assert self.ended is not None
        work = start_task(f"job {self.id}", drive(run, self._put, self._spawn))
        self.ended.add_done_callback(lambda _: work.cancel())
        try:
            await settled(work)
        finally:
            work.cancel()

    def _script_ended(self, code: int) -> None:
        self.finish(Exit(code=code, reason="Error" if code else "Completed"))

    def _print_again(self) -> None:
        self.print("stdout", self.profile.log_line + "\n")
        self._after("log", self.profile.log_every_s, self._print_again)

    def print(self, stream: str, data: str | bytes) -> None:
        raw = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        self._log.write(stream, raw.decode(errors="replace"))
        for execution in self._attached:
            execution.offer(stream, raw)

    # --- the end

    def finish(self, exit: Exit) -> None:
        """It is down, now."""
        if self.ended is None or self.ended.done():
            return
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._driver is not None:
            if self._driver is not asyncio.current_task():
                self._driver.cancel()
            self._driver = None
        elif self._script is not None:
            self._script.close()
        self._script = None
        self.serving = False
        self._log.close()
        for attached in self._attached:
            attached.ended(exit.code)
        for execution in list(self._executions):
            self._tasks.start(f"end exec {self.id}", execution.kill())
        if self.profile.serves != "none":
            self._tasks.start(f"close {self.id}", self._server.close())
        self.ended.set_result(None)
        self._on_exit(with_message(exit, self._launch.container, self._read, self._log.lines()))

    def _read(self, path: str) -> bytes:
        if self._world is None:
            raise FileNotFoundError(path)
        return self._world.files.read(path)

    async def stop(self, grace_s: float) -> None:
        if self.ended is None or self.ended.done():
            return
        kill_at = self._clock.monotonic() + grace_s
        if self.stopping and kill_at >= self._kill_at:
            await settled(self.ended)
            return
        killed = Exit(code=128 + SIGKILL, reason="Error")
        if not self.stopping:
            self._on_sigterm()
            if self.ended.done():
                return
        self.stopping = True
        self._kill_at = kill_at
        if "kill" in self._timers:
            self._timers["kill"].cancel()
        self._after("kill", grace_s, self.finish, killed)
        await settled(self.ended)

    def _on_sigterm(self) -> None:
        """A script without a trap, as process 1, never sees the signal."""
        if self.profile.ignores_sigterm or self.profile.hang:
            return
        if self._script is not None:
            if self._world is not None and self._world.trap:
                self._tasks.start(f"trap {self.id}", self._run_trap(self._world, self._world.trap))
            return
        code = self.profile.stop_code
        exit = Exit(code=code, reason="Error" if code else "Completed")
        if not self.profile.stop_s:
            self.finish(exit)
        else:
            self._after("stop", self.profile.stop_s, self.finish, exit)

    async def _run_trap(self, world: World, source: str) -> None:
        code = await drive(shell.run(world, ["sh", "-c", source]), self._put, self._spawn)
        if "exit" in source:
            self._script_ended(code)

    def signal(self, number: int) -> None:
        """Sent from inside to the container's own process."""
        if number == SIGTERM:
            self._on_sigterm()

    # --- what others ask

    async def execute(self, command: Sequence[str], *, timeout_s: float | None) -> tuple[int, bytes]:
        async with asyncio.timeout(timeout_s):
            if self.profile.hang:
                await asyncio.sleep(FOREVER_S)
            execution = await self.begin(command, stdin=False, tty=False)
            output = bytearray()
            try:
                while (written := await execution.read()) is not None:
                    output += written[1]
                return await execution.wait(), bytes(output)
            finally:
                await execution.kill()

    async def begin(self, command: Sequence[str], *, stdin: bool, tty: bool) -> EmulatedExecution:
        if self._is_over():
            raise ExecProblem("container is not running")
        try:
            await self._launch.volumes.prepare()
        except MountProblem as problem:
            raise ExecProblem(str(problem)) from problem
        world = replace(self._see(), terminal=(80, 24) if tty else None, trap=None, signal=self.signal)

        def resized(columns: int, rows: int) -> None:
            world.terminal = (columns, rows)

        pipe = Pipe() if stdin else None
        execution = EmulatedExecution(stdin=pipe, tty=tty, resized=resized if tty else None)
        known = shell.understands(command)
        run = (
            shell.run(world, command, input_of(pipe, execution.terminal)) if known else self._foreign(command)
        )
        self._executions[execution] = None
        execution.start(f"exec {self.id}", run, self._tasks)
        execution.when_done(lambda: self._executions.pop(execution, None))
        return execution

    def attach(self, *, stdin: bool, tty: bool) -> EmulatedExecution:
        def resized(columns: int, rows: int) -> None:
            if self._world is not None:
                self._world.terminal = (columns, rows)

        pipe = self._stdin if stdin else None
        execution = EmulatedExecution(stdin=pipe, tty=tty, resized=resized if tty else None)
        if self._is_over():
            execution.ended(0)
        else:
            self._attached.append(execution)
            execution.when_done(lambda: self._attached.remove(execution))
        return execution

    def _foreign(self, command: Sequence[str]) -> Run:
        """A program of a server's image that the pod itself counts on (redis-cli, pg_isready in a probe):
        content as soon as the server is up. Other programs are not there."""
        name = command[0] if command else ""
        server = not self.profile.shell and self.profile.serves != "none"
        if server and name in programs_named(self._launch.container):
            return _known_program(self.serving)
        raise no_such_program(self.id, name)

    def probe_answer(self, kind: str) -> Answer | None:
        answers: tuple[TimedAnswer, ...] = getattr(self.profile, kind)
        age = self._age()
        current = next((a for a in reversed(answers) if a.after_s <= age), None)
        if current is None or current.answer == "ok":
            return None
        return Answer(success=False, message=current.message, hang=current.answer == "hang")

    def document(self, path: str) -> bytes | None:
        if self._world is None and not mounts_documents(self._launch, self.profile):
            return None
        root = self.profile.document_root
        try:
            return self._see().files.read(root + (f"{path}{INDEX}" if path.endswith("/") else path))
        except OSError:
            if path in ("/", f"/{INDEX}") or mounts_documents(self._launch, self.profile):
                raise
            return None

    async def _before_answer(self, request: http.Request) -> http.Response | None:
        if self.profile.hang:
            await asyncio.sleep(FOREVER_S)
        if self.profile.latency_s:
            await asyncio.sleep(self.profile.latency_s)
        if self.path_fails(request.path):
            return http.Response(status=503, body=b"Service Unavailable\n")
        return None

    def path_fails(self, path: str) -> bool:
        profile = self.profile
        if not (profile.startup or profile.liveness or profile.readiness):
            return False
        kinds = [
            kind
            for kind in ("startup", "liveness", "readiness")
            if (self._launch.container.get(f"{kind}Probe") or {}).get("httpGet", {}).get("path", "/") == path
            and f"{kind}Probe" in self._launch.container
        ]
        return bool(kinds) and all(self.probe_answer(kind) is not None for kind in kinds)

    def behave(self, behaviour: Mapping[str, Any]) -> None:
        self._overridden = behaviour
        self.profile = self._base.with_(behaviour)
        for name in ("exit", "log", "oom"):
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()
        if not self._is_over():
            self._plan()
            self._check_crash(ordered=True)

    def usage(self) -> Usage:
        age = self._age()
        memory = _at(self.profile.memory_bytes, age) + self.profile.memory_growth_bytes_per_s * age
        cpu_cores = _at(self.profile.cpu_cores, age)
        if self._world is not None:
            now = self._clock.now()
            cpu_cores += self._world.load.of(CPU, now)
            memory += self._world.load.of(MEMORY, now)
        limit = self._memory_limit()
        if limit is not None:
            memory = min(memory, limit)
        asked = bool({"memory_bytes", "memory_growth_bytes_per_s"} & set(self._overridden))
        return Usage(
            cpu_cores=cpu_cores,
            memory_bytes=int(memory),
            asked=asked,
            storage_bytes=int(_at(self.profile.storage_bytes, age)),
        )

    def storage_bytes(self) -> int:
        files = used(MemoryFiles(self._world.files.root)) if self._world is not None else 0
        return int(_at(self.profile.storage_bytes, self._age())) + files + self._log.bytes()

    async def resize(self, resources: Object) -> None:
        limit = (resources.get("limits") or {}).get("memory")
        used = self.usage()
        if limit is not None and used.asked and used.memory_bytes > quantity.parse(limit).value():
            raise ResizeProblem(limit_below_usage(quantity.parse(limit).value(), used.memory_bytes))
        self._launch = replace(self._launch, container={**self._launch.container, "resources": resources})
        self.behave(self._overridden)

    def _memory_limit(self) -> int | None:
        limits = (self._launch.container.get("resources") or {}).get("limits") or {}
        return quantity.parse(limits["memory"]).value() if "memory" in limits else None

    def _time_to_oom(self) -> float | None:
        """Seconds until the memory limit is reached. Only what somebody asked for counts: the shipped
        profiles' figures are typical ones, not a reason to kill."""
        limit = self._memory_limit()
        if limit is None or not {"memory_bytes", "memory_growth_bytes_per_s"} & set(self._overridden):
            return None
        growth, age = self.profile.memory_growth_bytes_per_s, self._age()
        steps = self.profile.memory_bytes
        for position, step in enumerate(steps):
            end = steps[position + 1].after_s if position + 1 < len(steps) else FOREVER_S
            start = max(step.after_s, age)
            if start >= end:
                continue
            missing = limit - step.value - growth * start
            at = start if missing <= 0 else start + missing / growth if growth else FOREVER_S
            if at < end:
                return at - age
        return None

    def logs(self) -> Sequence[LogLine]:
        return self._log.lines()

    def follow(self) -> AsyncIterator[LogLine]:
        return self._log.follow()


def _known_program(serving: bool) -> Run:
    if not serving:
        yield Write("stderr", b"connection refused\n")
    return 0 if serving else 1


def _at(series: Sequence[Amount], age: float) -> float:
    return next((amount.value for amount in reversed(series) if amount.after_s <= age), 0.0)
