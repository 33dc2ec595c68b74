"""The pod actor: carries out what the pod machine decides, and tells it what came of it.

One per pod, holding its containers and probes as state, without a task while nothing happens. Slow work
(pulls, hooks, probes, stops) runs beside the mailbox and answers with messages; names of such work carry
the attempt, so that an old one never stands in the way of a new one.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from agents.behaviour import ANNOTATION, BehaviourError, overrides_for
from agents.container import ContainerState, Role
from agents.host import Host, PodView
from agents.launching import HookFailed, Launching, run_hook
from agents.pod import PodMachine
from agents.podstatus import pod_status
from agents.podvolumes import PodVolumes
from agents.probe import Result
from agents.prober import probe as run_probe
from agents.probing import OrderDue, ProbeDone, ProbeDue, Probes
from agents.restore import SANDBOX_CHANGED, ended, restore
from agents.runtime import Container, Exit, ResizeProblem
from agents.steps import (
    Actuate,
    Actuated,
    ConfigChanged,
    ConfigFailed,
    Effect,
    Emit,
    Exited,
    Halt,
    Input,
    Launch,
    Launched,
    Look,
    ProbeTurned,
    PullFailed,
    Resize,
    ResizeAnswered,
    RestartNow,
    SandboxFailed,
    SandboxReady,
    SetUp,
    TearDown,
)
from agents.volumes import MountProblem, mount_problems
from broker.actor import Actor
from cluster.api.objects import Object
from cluster.api.wire import RestartContainer

ACTUATION_S = 0.1
"""What a runtime takes to change a container's limits."""
FAILED_SANDBOX_RETRY_S = 10.0
"""The kubelet's pace for a pod whose last sync failed."""
SANDBOX_RETRY_S = 2.0
"""How soon volumes or an address that were missing are looked for again, unless a change says so earlier."""


class PodUpdated:
    """A newer version of the object is there (`Host` keeps it)."""

    __slots__ = ("pod",)

    def __init__(self, pod: Object) -> None:
        self.pod = pod


class PodRemoved:
    """The object is gone from the API, or was moved off this node."""

    __slots__ = ()


class PodFailed:
    """The node ends the pod and says why."""

    __slots__ = ("grace_s", "message", "reason")

    def __init__(self, reason: str, message: str, grace_s: float) -> None:
        self.reason, self.message, self.grace_s = reason, message, grace_s


class RotationDue:
    """Tokens in the pod's volumes have to be replaced."""

    __slots__ = ()


PodMessage: TypeAlias = (
    Input
    | PodUpdated
    | PodRemoved
    | PodFailed
    | ProbeDue
    | ProbeDone
    | OrderDue
    | RestartContainer
    | RotationDue
)


class PodActor(Actor[PodMessage]):
    def __init__(self, pod: Object, host: Host, view: PodView) -> None:
        self._pod = pod
        self._host = host
        self._view = view
        self._machine: PodMachine | None = None
        self._instances: dict[str, Container] = {}
        self._reported: Object | None = None
        self._runs = 0
        self._released = False
        """Everything that the pod held on the node is given back."""
        self._leaving = False
        """The object is gone; so will the pod be."""
        self._probes: Probes | None = None
        self._volumes: PodVolumes | None = None
        self._sandbox_problem = ""
        """Why the runtime can't make a sandbox for the pod."""

    async def started(self) -> None:
        now = self.context.clock.now()
        if ended(self._pod):
            self._released = True
            self._reported = self._pod["status"]
            self._host.report(self._view, self._reported)
            self._leave_if_deleted(self._pod)
            return
        self._probes = Probes(
            self._host,
            self._view,
            lambda: self.context.chance,
            lambda delay_s, message, key: self.context.after(delay_s, message, key=key),
        )
        self._sandbox_problem = self._choose_runtime()
        disk = self._host.runtime.disk(self._pod)
        self._volumes = PodVolumes(self._pod, self._host, disk, self.context.clock)
        self._machine, found = restore(self._pod, self._host.timings, now)
        refused = self._host.admit(self._view.uid, self._machine.resizing.allocated_pod(self._pod))
        if refused is not None:
            self._host.emit(self._view.uid, "Warning", refused.reason, refused.message)
            self._machine.reject(refused.reason, f"Pod was rejected: {refused.message}")
            self._view.ended = self._released = True
        elif found:
            self._carry_emit(SANDBOX_CHANGED)
        await self._carry(self._machine.update(self._pod, now))

    async def receive(self, message: PodMessage) -> None:
        machine, now = self._machine, self.context.clock.now()
        if machine is None:
            if isinstance(message, PodUpdated):
                self._leave_if_deleted(message.pod)
            elif isinstance(message, PodRemoved):
                self._host.gone(self._view)
            return
        match message:
            case PodUpdated():
                self._behave(message.pod)
                self._pod = message.pod
                self._refresh_volumes()
                effects = machine.update(message.pod, now)
            case PodRemoved():
                self._leaving = True
                effects = machine.remove(now)
            case PodFailed():
                effects = machine.fail(message.reason, message.message, message.grace_s, now)
            case ProbeDue():
                self._probe(machine, message)
                return
            case RotationDue():
                self._run("rotate", self._rotate())
                return
            case ConfigChanged():
                self._refresh_volumes()
                effects = machine.handle(message, now)
            case ProbeDone() | OrderDue() | RestartContainer():
                turned = self._judge(machine, message)
                if turned is None:
                    return
                effects = machine.handle(turned, now)
            case Launched() if not machine.expects(message.container, message.attempt):
                self._discard(message.container)
                return
            case Launched():
                effects = machine.handle(message, now)
                assert self._probes is not None
                self._probes.begin(machine.containers[message.container])
            case _:
                effects = machine.handle(message, now)
        await self._carry(effects)

    async def stopped(self) -> None:
        """The agent stops, or this actor crashed: nothing of the pod may go on."""
        for container in self._instances.values():
            await container.stop(0.0)
        if self._view.ip and not self._host_network():
            await self._host.network.detach(self._view.ip)

    # --- effects

    async def _carry(self, effects: list[Effect]) -> None:
        machine = self._machine
        assert machine is not None
        queue = list(effects)
        while queue:
            effect = queue.pop(0)
            match effect:
                case Emit():
                    self._carry_emit(effect)
                case SetUp():
                    queue += machine.handle(await self._set_up(), self.context.clock.now())
                case Launch():
                    self._launch(machine.containers[effect.container])
                case Halt():
                    self._halt(machine.containers[effect.container], effect)
                case TearDown():
                    await self._tear_down()
                case Resize():
                    refused = self._host.resize(self._view.uid, self._pod)
                    answer = (
                        ResizeAnswered(reason=refused.reason, message=refused.message)
                        if refused is not None
                        else ResizeAnswered()
                    )
                    queue += machine.handle(answer, self.context.clock.now())
                case Actuate():
                    self._actuate(machine.containers[effect.container])
        self._report(machine)
        if self._released:
            self._leave_if_deleted(self._pod)
            return
        if machine.wake_at is None:
            self.context.cancel("wake")
        else:
            delay_s = (machine.wake_at - self.context.clock.now()).total_seconds()
            self.context.after(max(delay_s, 0.0), Look(), key="wake")

    def _actuate(self, state: ContainerState) -> None:
        container = self._instances.get(state.name)
        if container is not None:
            resources = state.spec.get("resources") or {}
            self._run(f"resize/{state.name}", self._change(state, container, resources))

    async def _change(self, state: ContainerState, container: Container, resources: Object) -> None:
        attempt, error = state.attempt, ""
        await asyncio.sleep(ACTUATION_S)
        try:
            await container.resize(resources)
        except ResizeProblem as problem:
            error = str(problem)
        self.context.ref.tell(
            Actuated(container=state.name, attempt=attempt, resources=resources, error=error)
        )

    def _carry_emit(self, effect: Emit) -> None:
        self._host.emit(self._view.uid, effect.type, effect.reason, effect.message, effect.field_path)

    def _report(self, machine: PodMachine) -> None:
        status = pod_status(machine, self._host.ip, self.context.clock.now())
        if status != self._reported:
            self._reported = status
            for state in machine.states():
                self._view.waiting[state.name] = state.waiting_reason
                self._view.restarts[state.name] = machine.restarts(state)
            self._host.report(self._view, status)

    def _refresh_volumes(self) -> None:
        volumes = self._volumes
        if volumes is not None:
            volumes.pod = self._pod
            volumes.refresh()

    def _watch_tokens(self) -> None:
        delay_s = self._volumes.rotate_in_s(self.context.clock.now()) if self._volumes is not None else None
        if delay_s is not None:
            self.context.after(delay_s, RotationDue(), key="rotate")

    async def _rotate(self) -> None:
        assert self._volumes is not None
        try:
            await self._volumes.rotate()
        except MountProblem as problem:
            self._host.emit(self._view.uid, "Warning", "FailedMount", str(problem))
        self._watch_tokens()

    def _choose_runtime(self) -> str:
        try:
            handler = self._host.handler(self._pod)
        except LookupError as error:
            return str(error.args[0])
        if self._host.runtime.choose(self._pod, handler):
            return ""
        why = f'failed to get sandbox runtime: no runtime for "{handler}" is configured'
        return f"rpc error: code = Unknown desc = {why}"

    async def _set_up(self) -> SandboxReady | SandboxFailed:
        if self._sandbox_problem:
            text = f"Failed to create pod sandbox: {self._sandbox_problem}"
            self._host.emit(self._view.uid, "Warning", "FailedCreatePodSandBox", text)
            return SandboxFailed(retry_s=FAILED_SANDBOX_RETRY_S)
        assert self._volumes is not None
        problems = mount_problems(self._pod, self._host.place(""), self._host.lookup)
        for problem in problems or filter(None, (self._volumes.problem(),)):
            self._host.emit(self._view.uid, "Warning", "FailedMount", problem)
            return SandboxFailed(retry_s=SANDBOX_RETRY_S)
        if self._host_network():
            ip: str | None = self._host.ip
        else:
            ip = self._host.take_address(self._view.uid)
        if not ip:
            return SandboxFailed(retry_s=SANDBOX_RETRY_S)
        if not self._host_network():
            await self._host.network.attach(ip)
        self._view.ip = ip
        self._volumes.ip = ip
        return SandboxReady(ip=ip)

    def _host_network(self) -> bool:
        return bool(self._pod["spec"].get("hostNetwork"))

    async def _tear_down(self) -> None:
        if self._view.ip and not self._host_network():
            await self._host.network.detach(self._view.ip)
        self._host.release(self._view.uid)
        self._view.ip = ""
        self._view.ended = True
        self._released = True

    def _leave_if_deleted(self, pod: Object) -> None:
        if self._leaving or "deletionTimestamp" in pod["metadata"]:
            self._host.gone(self._view)

    # --- containers

    def _launch(self, state: ContainerState) -> None:
        self.context.run(f"launch/{state.name}/{state.attempt}", self._start(state))

    async def _start(self, state: ContainerState) -> None:
        name, attempt = state.name, state.attempt

        def on_exit(exit: Exit) -> None:
            self.context.ref.tell(Exited(container=name, attempt=attempt, exit=exit))

        assert self._volumes is not None
        launching = Launching(self._host, self._view, self._pod, state, self._volumes, self.context.clock)
        outcome = await launching.run(on_exit)
        self._watch_tokens()
        if isinstance(outcome, PullFailed | ConfigFailed | Exited):
            self.context.ref.tell(outcome)
            return
        container, image_id = outcome
        if name in self._view.current:
            self._view.previous[name] = self._view.current[name]
        self._view.current[name] = self._instances[name] = container
        self.context.ref.tell(
            Launched(container=name, attempt=attempt, container_id=container.id, image_id=image_id)
        )
        hook = (state.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(hook, state, container)

    async def _post_start(self, hook: Object, state: ContainerState, container: Container) -> None:
        try:
            await run_hook(hook, self._host, self._view, state.spec, container)
        except HookFailed:
            path = state.field_path()
            self._host.emit(self._view.uid, "Warning", "FailedPostStartHook", "PostStartHook failed", path)
            self._host.emit(self._view.uid, "Normal", "Killing", "FailedPostStartHook", path)
            await container.stop(float(self._pod["spec"].get("terminationGracePeriodSeconds", 30)))

    def _discard(self, name: str) -> None:
        """An instance that nobody wants any more came up."""
        container = self._instances.pop(name, None)
        if container is not None:
            self._run(f"discard/{name}", container.stop(0.0))

    def _halt(self, state: ContainerState, effect: Halt) -> None:
        self.context.cancel_run(f"launch/{state.name}/{effect.attempt}")
        container = self._instances.get(state.name)
        if container is not None and state.attempt == effect.attempt:
            self._run(f"halt/{state.name}", self._stop(state, container, effect.grace_s))

    async def _stop(self, state: ContainerState, container: Container, grace_s: float) -> None:
        """preStop and SIGTERM share the grace."""
        hook = (state.spec.get("lifecycle") or {}).get("preStop")
        begun = self.context.clock.monotonic()
        if hook and state.role is not Role.INIT:
            try:
                async with asyncio.timeout(grace_s):
                    await run_hook(hook, self._host, self._view, state.spec, container)
            except TimeoutError:
                pass  # the grace is used up; the kubelet goes on to stop it with what is left
            except HookFailed:
                self._host.emit(
                    self._view.uid,
                    "Warning",
                    "FailedPreStopHook",
                    "PreStopHook failed",
                    state.field_path(),
                )
        left_s = grace_s - (self.context.clock.monotonic() - begun)
        await container.stop(max(left_s, min(grace_s, 2.0)))

    def _run(self, name: str, work: object) -> None:
        self._runs += 1
        assert asyncio.iscoroutine(work)
        self.context.run(f"{name}/{self._runs}", work)

    def _behave(self, pod: Object) -> None:
        """Hands a changed behaviour annotation to the running containers."""
        annotation = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
        if annotation == (self._pod["metadata"].get("annotations") or {}).get(ANNOTATION):
            return
        for name, container in self._instances.items():
            try:
                container.behave(overrides_for(annotation, name))
            except BehaviourError as error:
                self._host.emit(self._view.uid, "Warning", "Failed", f"Error: {error}")
                return

    # --- probes

    def _probe(self, machine: PodMachine, message: ProbeDue) -> None:
        assert self._probes is not None
        state = machine.containers[message.container]
        probe = self._probes.due(message, state, machine.terminating)
        container = self._instances.get(message.container)
        if probe is not None and container is not None:
            work = self._ask(message, state, container, probe.settings.timeout_s)
            self._run(f"probe/{message.container}/{message.kind}", work)

    async def _ask(
        self, message: ProbeDue, state: ContainerState, container: Container, timeout_s: float
    ) -> None:
        spec = state.spec[f"{message.kind}Probe"]
        result: Result = await run_probe(
            self._host.network, container, message.kind, state.spec, spec, self._view.ip, timeout_s
        )
        if self._probes is not None and self._probes.changes_nothing(message, result):
            return
        self.context.ref.tell(
            ProbeDone(container=message.container, kind=message.kind, attempt=message.attempt, result=result)
        )

    def _judge(
        self, machine: PodMachine, message: ProbeDone | OrderDue | RestartContainer
    ) -> ProbeTurned | RestartNow | None:
        assert self._probes is not None
        state = machine.containers.get(message.container)
        if state is None:
            return None
        match message:
            case ProbeDone():
                started_at = state.started_at
                now = self.context.clock.now()
                age_s = (now - started_at).total_seconds() if started_at is not None else 0.0
                return self._probes.done(message, state, age_s)
            case OrderDue():
                return self._probes.order_due(message, state)
            case RestartContainer():
                return self._probes.ordered(message.container, message.expected_restart_count, state)
