"""One instance of an emulated container: follows its profile with timers, no task while nothing happens.

A command that the small shell understands is really interpreted; anything else stands for the image's
server. What ends it: the command's end, a planned exit or crash, the memory limit, SIGTERM and SIGKILL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from agents.behaviour import Amount, Crash, Profile, TimedAnswer
from agents.emulated import shell
from agents.emulated.log import ContainerLog
from agents.emulated.server import Server
from agents.emulated.world import FOREVER_S, Run, World, Write
from agents.network import AddressInUse, Network
from agents.runtime import Answer, Exit, Launch, LogLine, Usage
from broker.clock import Clock
from broker.supervision import Tasks, settled
from cluster.api import quantity
from cluster.api.objects import timestamp

SHORTEST_SLEEP_S = 0.01
"""A busy loop in a script gets this much time per round."""
SIGTERM, SIGKILL = 15, 9


class EmulatedContainer:
    """Implements `agents.runtime.Container` and `agents.emulated.server.Served`."""

    __slots__ = (
        "_base", "_clock", "_crash_due", "_kill_at", "_launch", "_log", "_on_exit", "_overridden", "_script",
        "_server", "_started", "_tasks", "_timers", "_world", "ended", "id", "profile", "serving", "stopping",
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
        self._script: Run | None = None
        self._world = World(
            environment=dict(launch.environment),
            hostname=launch.pod["spec"].get("hostname") or launch.pod["metadata"]["name"],
            now=clock.now,
            files=dict(launch.files),
        )
        self._kill_at = 0.0
        self.serving = False
        self.stopping = False
        self.ended: asyncio.Future[None] | None = None

    # --- the start

    def begin(self) -> None:
        """Runs from now on."""
        self.ended = asyncio.get_running_loop().create_future()
        for line in self.profile.log:
            self.print("stdout", line + "\n")
        command = self.command()
        if command and shell.understands(command):
            self._script = shell.run(self._world, command)
            self._after("script", 0.0, self._advance)
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
        spec = self._launch.container
        command, args = list(spec.get("command") or ()), list(spec.get("args") or ())
        if command:
            return command + args
        if self.profile.shell:
            return args or list(self.profile.command)
        return []

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
        """Runs the script up to its next sleep."""
        assert self._script is not None
        while True:
            try:
                step = next(self._script)
            except StopIteration as done:
                code = int(done.value)
                self.finish(Exit(code=code, reason="Error" if code else "Completed"))
                return
            if isinstance(step, Write):
                self.print(step.stream, step.text)
                continue
            if step.seconds < FOREVER_S:
                self._after("script", max(step.seconds, SHORTEST_SLEEP_S), self._advance)
            return

    def _print_again(self) -> None:
        self.print("stdout", self.profile.log_line + "\n")
        self._after("log", self.profile.log_every_s, self._print_again)

    def print(self, stream: str, text: str) -> None:
        self._log.write(stream, text)

    # --- the end

    def finish(self, exit: Exit) -> None:
        """It is down, now."""
        if self.ended is None or self.ended.done():
            return
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._script is not None:
            self._script.close()
            self._script = None
        self.serving = False
        self._log.close()
        if self.profile.serves != "none":
            self._tasks.start(f"close {self.id}", self._server.close())
        self.ended.set_result(None)
        self._on_exit(exit)

    async def stop(self, grace_s: float) -> None:
        if self.ended is None or self.ended.done():
            return
        kill_at = self._clock.monotonic() + grace_s
        if self.stopping and kill_at >= self._kill_at:
            await settled(self.ended)
            return
        killed = Exit(code=128 + SIGKILL, reason="Error")
        if not self.stopping and not self._ignores_sigterm():
            code = 0 if self._script is not None else self.profile.stop_code
            exit = Exit(code=code, reason="Error" if code else "Completed")
            if not self.profile.stop_s:
                self.finish(exit)
                return
            self._after("stop", self.profile.stop_s, self.finish, exit)
        self.stopping = True
        self._kill_at = kill_at
        if "kill" in self._timers:
            self._timers["kill"].cancel()
        self._after("kill", grace_s, self.finish, killed)
        await settled(self.ended)

    def _ignores_sigterm(self) -> bool:
        """A script without a trap, as process 1, never sees the signal."""
        if self._script is not None and not self._world.traps:
            return True
        return self.profile.ignores_sigterm or self.profile.hang

    # --- what others ask

    async def execute(self, command: Sequence[str], *, timeout_s: float | None) -> tuple[int, bytes]:
        async with asyncio.timeout(timeout_s):
            if self.profile.hang:
                await asyncio.sleep(FOREVER_S)
            if not shell.understands(command):
                return self._foreign(command)
            return await self._interpret(command)

    async def _interpret(self, command: Sequence[str]) -> tuple[int, bytes]:
        output: list[str] = []
        run = shell.run(self._world, command)
        while True:
            try:
                step = next(run)
            except StopIteration as done:
                return int(done.value), "".join(output).encode()
            if isinstance(step, Write):
                output.append(step.text)
            else:
                await asyncio.sleep(max(step.seconds, SHORTEST_SLEEP_S))

    def _foreign(self, command: Sequence[str]) -> tuple[int, bytes]:
        """A program of the image's own (redis-cli, pg_isready): content as soon as the server is up."""
        if not self.profile.shell and self.profile.serves != "none":
            return (0, b"") if self.serving else (1, b"connection refused\n")
        name = command[0] if command else ""
        why = f'exec: "{name}": executable file not found in $PATH'
        return 126, f"OCI runtime exec failed: exec failed: {why}: unknown\n".encode()

    def probe_answer(self, kind: str) -> Answer | None:
        answers: tuple[TimedAnswer, ...] = getattr(self.profile, kind)
        age = self._age()
        current = next((a for a in reversed(answers) if a.after_s <= age), None)
        if current is None or current.answer == "ok":
            return None
        return Answer(success=False, message=current.message, hang=current.answer == "hang")

    def path_fails(self, path: str) -> bool:
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
        limit = self._memory_limit()
        if limit is not None:
            memory = min(memory, limit)
        return Usage(cpu_cores=_at(self.profile.cpu_cores, age), memory_bytes=int(memory))

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


def _at(series: Sequence[Amount], age: float) -> float:
    return next((amount.value for amount in reversed(series) if amount.after_s <= age), 0.0)
