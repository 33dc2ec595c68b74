"""The pod machine: which container to start or stop next, from what happened so far and the time.

Level-triggered like the kubelet's pod sync: every input is booked first, then `_sync` looks at the whole
pod and asks for what is missing. Order: sandbox, init containers one by one (native sidecars stay up
beside the rest once they started), then the containers; at the end containers first, then sidecars in
reverse order. No I/O: effects are carried out by the pod actor, `wake_at` says when to look again.
`agents.podstatus` turns the state into the pod's status.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain

from agents import restartrules
from agents.container import CONFIG_RETRY_S, ContainerState, Phase, Role, duration
from agents.resizing import RETRY_S, Resizing, must_restart, same_resources
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
    RoomMade,
    SandboxFailed,
    SandboxReady,
    SetUp,
    TearDown,
)
from cluster.api.objects import Object
from cluster.api.timings import Timings

MINIMUM_GRACE_S = 2.0
"""The kubelet never gives a container less before SIGKILL, except for a forced deletion (1 s)."""
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class Sandbox(Enum):
    NONE = "none"
    MAKING = "making"
    UP = "up"
    DOWN = "down"


class PodMachine:
    """One pod on its node."""

    __slots__ = (
        "_grace_ends", "_grace_s", "_out", "_retry_sandbox_at", "containers", "disrupted", "ephemerals",
        "failure", "inits", "ip", "mains", "pod", "policy", "resizing", "sandbox", "start_time",
        "starting_over", "terminating", "timings", "transitions", "wake_at",
    )  # fmt: skip

    def __init__(self, pod: Object, timings: Timings, now: datetime) -> None:
        self.pod = pod
        self.timings = timings
        spec = pod["spec"]
        self.policy: str = spec.get("restartPolicy", "Always")
        self.resizing = Resizing(pod)
        entry = self.resizing.allocated_entry
        self.inits = [
            ContainerState(entry(c), _init_role(c), timings) for c in spec.get("initContainers", ())
        ]
        self.mains = [ContainerState(entry(c), Role.MAIN, timings) for c in spec["containers"]]
        self.containers = {c.name: c for c in chain(self.inits, self.mains)}
        self.ephemerals: list[ContainerState] = []
        self._add_ephemerals(pod)
        self.sandbox = Sandbox.NONE
        self.ip = ""
        self.start_time = now
        self.terminating = False
        """Nothing is started any more; everything is stopped."""
        self.starting_over = False
        """A container's rule wants all containers started anew."""
        self.failure: tuple[str, str] | None = None
        """Reason and message of a pod that the node itself failed (DeadlineExceeded, Evicted)."""
        self.disrupted = ""
        """Why the node ended a pod that could have gone on."""
        self.transitions: dict[str, tuple[str, str]] = {}
        """Condition type → (status, lastTransitionTime); kept by `agents.podstatus`."""
        self.wake_at: datetime | None = None
        self._retry_sandbox_at: datetime | None = None
        self._grace_s = 0.0
        self._grace_ends = now
        self._out: list[Effect] = []

    # --- what the actor calls

    def update(self, pod: Object, now: datetime) -> list[Effect]:
        """Takes a newer version of the object."""
        self.pod = pod
        self._take_entries()
        self._add_ephemerals(pod)
        if "deletionTimestamp" in pod["metadata"]:
            self._terminate(deletion_grace_s(pod), now)
        elif not self.terminating:
            self._ask_for_resize()
        return self.handle(Look(), now)

    def _take_entries(self) -> None:
        """What the containers are run by: the spec with the resources that are allocated."""
        for entry in chain(self.pod["spec"].get("initContainers", ()), self.pod["spec"]["containers"]):
            if entry["name"] in self.containers:
                self.containers[entry["name"]].spec = self.resizing.allocated_entry(entry)

    def _ask_for_resize(self) -> None:
        if self.resizing.differs(self.pod):
            self._out.append(Resize())
        else:
            self.resizing.pending = None

    def _add_ephemerals(self, pod: Object) -> None:
        for entry in pod["spec"].get("ephemeralContainers", ()):
            if entry["name"] not in self.containers:
                state = ContainerState(entry, Role.EPHEMERAL, self.timings)
                self.ephemerals.append(state)
                self.containers[state.name] = state

    def reject(self, reason: str, message: str) -> None:
        """The node does not run the pod at all."""
        self.failure = (reason, message)
        self.terminating, self.sandbox = True, Sandbox.DOWN

    def fail(self, reason: str, message: str, grace_s: float, now: datetime) -> list[Effect]:
        """The node ends the pod: evicted, shut down."""
        if self.failure is None and not self.terminating:
            self.failure = (reason, message)
            self.disrupted = message
            self._terminate(grace_s, now)
        return self.handle(Look(), now)

    def remove(self, now: datetime) -> list[Effect]:
        """The object is gone: end as for a deletion."""
        self._terminate(deletion_grace_s(self.pod), now)
        return self.handle(Look(), now)

    def handle(self, what: Input, now: datetime) -> list[Effect]:
        """Books an input and says what to do. Inputs about replaced instances change nothing."""
        self._book(what, now)
        self._sync(now)
        effects, self._out = self._out, []
        return effects

    def expects(self, container: str, attempt: int) -> bool:
        """Whether this launch is still wanted."""
        state = self.containers[container]
        return state.attempt == attempt and state.phase is Phase.STARTING

    @property
    def stopped(self) -> bool:
        """Nothing of the pod runs, and nothing will."""
        return self.sandbox is Sandbox.DOWN

    # --- inputs

    def _book(self, what: Input, now: datetime) -> None:
        match what:
            case SandboxReady(ip=ip):
                self.ip = ip
                if self.sandbox is Sandbox.MAKING:
                    self.sandbox = Sandbox.UP
            case SandboxFailed(retry_s=retry_s):
                if self.sandbox is Sandbox.MAKING:
                    self.sandbox = Sandbox.NONE
                    self._retry_sandbox_at = now + timedelta(seconds=retry_s)
            case ConfigChanged():
                self._retry_sandbox_at = None
                for state in self.containers.values():
                    if state.waiting_reason == "CreateContainerConfigError":
                        state.retry_at = None
            case ResizeAnswered():
                self._book_resize(what)
            case RoomMade():
                if self.resizing.pending is not None and not self.terminating:
                    self._ask_for_resize()
            case Look():
                pass
            case _:
                state = self.containers[what.container]
                if state.attempt == what.attempt:
                    self._book_container(state, what, now)

    def _book_container(
        self,
        state: ContainerState,
        what: Launched | PullFailed | ConfigFailed | Exited | ProbeTurned | RestartNow | Actuated,
        now: datetime,
    ) -> None:
        match what:
            case Actuated():
                self._book_actuation(state, what, now)
            case Launched() if state.phase is Phase.STARTING:
                state.launched(what.container_id, what.image_id, now)
            case PullFailed() if state.phase is Phase.STARTING:
                self._pull_failed(state, what, now)
            case ConfigFailed() if state.phase is Phase.STARTING:
                retry_at = now + timedelta(seconds=CONFIG_RETRY_S)
                if what.message and (state.waiting_reason, state.waiting_message) != (
                    what.reason,
                    what.message,
                ):
                    self._emit_for(state, "Warning", "Failed", f"Error: {what.message}")
                state.failed_to_launch(what.reason, what.message, retry_at)
            case Exited() if state.up or state.phase is Phase.STARTING:
                state.exited(what.exit, now)
                if restartrules.action_of(state.spec, what.exit.code) == restartrules.RESTART_ALL:
                    self.starting_over = not self.terminating
            case ProbeTurned() if state.phase is Phase.RUNNING:
                state.probed(what.probe, what.success)
            case RestartNow() if state.phase is Phase.RUNNING and not self.terminating:
                self._restart(state, what)
            case _:
                pass

    def _book_resize(self, what: ResizeAnswered) -> None:
        if self.terminating:
            return
        if what.reason:
            self._out += self.resizing.refused(self.pod, what.reason, what.message)
            return
        self._out += self.resizing.granted(self.pod)
        self._take_entries()

    def _book_actuation(self, state: ContainerState, what: Actuated, now: datetime) -> None:
        state.actuating = False
        if what.error:
            self._out += self.resizing.failed(self.pod, what.error)
            state.retry_at = now + timedelta(seconds=RETRY_S)
        else:
            state.actual, state.retry_at = what.resources, None

    def _pull_failed(self, state: ContainerState, what: PullFailed, now: datetime) -> None:
        if what.reason == "ErrImagePull":
            state.image_backoff.attempt(now, now)
            retry_s = state.image_backoff.delay_s
        else:
            retry_s = CONFIG_RETRY_S
        state.failed_to_launch(what.reason, what.message, now + timedelta(seconds=retry_s))
        self._emit_for(state, "Warning", "Failed", f"Error: {what.reason}")

    def _restart(self, state: ContainerState, what: RestartNow) -> None:
        message = f"Container {state.name} failed {what.probe} probe"
        if self._policy_of(state) != "Never":
            message += ", will be restarted"
        grace_s = what.grace_s if what.grace_s is not None else grace_of_spec(self.pod)
        self._halt(state, max(grace_s, MINIMUM_GRACE_S), message)

    # --- the level-triggered part

    def _sync(self, now: datetime) -> None:
        self.wake_at = None
        if self.sandbox is Sandbox.DOWN:
            return
        self._check_deadline(now)
        if not self.terminating and not self.starting_over and self._over():
            self._terminate(grace_of_spec(self.pod), now)
        if self.terminating:
            self._wind_down(now)
        elif self.sandbox is Sandbox.UP and not (self.starting_over and self._down_for_anew()):
            for state in self.ephemerals:
                self._keep_running(state, now)
            if self._initialise(now):
                for state in self.mains:
                    self._keep_running(state, now)
            self._actuate(now)
        elif self.sandbox is Sandbox.NONE:
            self._set_up(now)

    def _set_up(self, now: datetime) -> None:
        if self._retry_sandbox_at is not None and now < self._retry_sandbox_at:
            self._wake(self._retry_sandbox_at)
            return
        self.sandbox = Sandbox.MAKING
        self._out.append(SetUp())

    def _check_deadline(self, now: datetime) -> None:
        limit_s = self.pod["spec"].get("activeDeadlineSeconds")
        if limit_s is None or self.terminating:
            return
        end = self.start_time + timedelta(seconds=limit_s)
        if now < end:
            self._wake(end)
            return
        self.failure = ("DeadlineExceeded", DEADLINE_MESSAGE)
        self._out.append(Emit(type="Normal", reason="DeadlineExceeded", message=DEADLINE_MESSAGE))
        self._terminate(grace_of_spec(self.pod), now)

    def _over(self) -> bool:
        """Every container ended and none is to run again, or an init container failed for good."""
        if any(
            s.role is Role.INIT and s.phase is Phase.EXITED and s.termination and s.termination.exit.code
            and not self._wants_restart(s)
            for s in self.inits
        ):  # fmt: skip
            return True
        return all(s.phase is Phase.EXITED and not self._wants_restart(s) for s in self.mains)

    def _initialise(self, now: datetime) -> bool:
        """Brings the init containers on; True once the containers may run."""
        begun = any(state.begun for state in self.mains)
        for state in self.inits:
            if state.role is Role.SIDECAR:
                self._keep_running(state, now)
                if not state.started and not begun:
                    return False
            elif not begun and not _completed(state):
                self._keep_running(state, now)
                return False
        return True

    def _keep_running(self, state: ContainerState, now: datetime) -> None:
        if state.phase is Phase.WAITING:
            start_at = state.retry_at or now
        elif state.phase is Phase.EXITED and self._wants_restart(state):
            start_at = state.may_restart_at()
        else:
            return
        if start_at <= now:
            state.launch(now)
            self._out.append(Launch(container=state.name, attempt=state.attempt))
            return
        self._show_backoff(state, now)
        self._wake(start_at)

    def _down_for_anew(self) -> bool:
        """Before all containers start over, every one has to be down; False once they were."""
        every = [*self.inits, *self.mains]
        for state in every:
            if state.phase is Phase.RUNNING:
                grace_s = max(grace_of_spec(self.pod), MINIMUM_GRACE_S)
                self._halt(state, grace_s, f"Stopping container {state.name}")
        if any(state.up or state.phase is Phase.STARTING for state in every):
            return True
        for state in every:
            state.renew()
        self.starting_over = False
        return False

    def _actuate(self, now: datetime) -> None:
        """Brings running containers to the resources that are allocated to them."""
        settled = True
        for state in chain(self.inits, self.mains):
            wanted = state.spec.get("resources")
            if not state.up or same_resources(state.actual, wanted):
                continue
            settled = False
            if state.phase is not Phase.RUNNING or state.actuating:
                continue
            if state.retry_at is not None and now < state.retry_at:
                self._wake(state.retry_at)
            elif must_restart(state.spec, state.actual, wanted or {}):
                state.restart_wanted = True
                grace_s = max(grace_of_spec(self.pod), MINIMUM_GRACE_S)
                self._halt(state, grace_s, f"Container {state.name} resize requires restart")
            else:
                state.actuating = True
                self._out.append(Actuate(container=state.name, attempt=state.attempt))
        if settled and self.resizing.in_progress and not any(s.phase is Phase.STARTING for s in self.mains):
            self._out += self.resizing.completed(self.pod)

    def _show_backoff(self, state: ContainerState, now: datetime) -> None:
        if not state.waiting_reason:
            delay = duration(state.backoff.delay_s)
            who = f"container={state.name} pod={_full_name(self.pod)}"
            state.waiting_reason = "CrashLoopBackOff"
            state.waiting_message = f"back-off {delay} restarting failed {who}"
            text = f"Back-off restarting failed container {state.name} in pod {_full_name(self.pod)}"
            self._emit_for(state, "Warning", "BackOff", text)
        elif state.waiting_reason == "ErrImagePull":
            backoff = state.image_backoff
            assert backoff.updated is not None
            turn_at = backoff.updated + timedelta(seconds=backoff.delay_s / 2)
            if now < turn_at:
                self._wake(turn_at)
                return
            text = f'Back-off pulling image "{state.spec.get("image", "")}"'
            state.waiting_reason = "ImagePullBackOff"
            state.waiting_message = f"{text}: ErrImagePull: {state.waiting_message}"
            self._emit_for(state, "Normal", "BackOff", text)
            self._emit_for(state, "Warning", "Failed", "Error: ImagePullBackOff")

    # --- the end

    def _terminate(self, grace_s: float, now: datetime) -> None:
        """Begins to end the pod, or shortens the grace of an end under way."""
        grace_ends = now + timedelta(seconds=grace_s)
        if not self.terminating:
            self.terminating = True
            self._grace_s, self._grace_ends = grace_s, grace_ends
            return
        if grace_s < self._grace_s and grace_ends < self._grace_ends:
            self._grace_s, self._grace_ends = grace_s, grace_ends
            for state in self.containers.values():
                if state.phase is Phase.STOPPING:
                    self._out.append(Halt(container=state.name, attempt=state.attempt, grace_s=grace_s))

    def _wind_down(self, now: datetime) -> None:
        for state in self.containers.values():
            if state.phase is Phase.STARTING:
                # its launch is called off; a late answer carries an old attempt
                self._out.append(Halt(container=state.name, attempt=state.attempt, grace_s=0.0))
                state.attempt += 1
                state.phase = Phase.EXITED if state.termination is not None else Phase.WAITING
        remaining_s = max((self._grace_ends - now).total_seconds(), min(self._grace_s, MINIMUM_GRACE_S))
        first = [s for s in self.containers.values() if s.up and s.role is not Role.SIDECAR]
        if not first:
            first = [s for s in reversed(self.inits) if s.up][:1]
        for state in first:
            if state.phase is Phase.RUNNING:
                self._halt(state, remaining_s, f"Stopping container {state.name}")
        if not first:
            self.sandbox = Sandbox.DOWN
            self._out.append(TearDown())

    def _halt(self, state: ContainerState, grace_s: float, message: str) -> None:
        state.phase = Phase.STOPPING
        self._emit_for(state, "Normal", "Killing", message)
        self._out.append(Halt(container=state.name, attempt=state.attempt, grace_s=grace_s))

    # --- small parts

    def wants_restart(self, state: ContainerState) -> bool:
        """Whether an exited container is to run again."""
        return not self.terminating and self._wants_restart(state)

    def would_restart(self, state: ContainerState) -> bool:
        """By rules and policy alone."""
        return self._wants_restart(state)

    def restarts(self, state: ContainerState) -> bool:
        """Whether an instance of it will be followed by another, as far as can be said now."""
        if self.terminating or state.role is Role.EPHEMERAL:
            return False
        if state.termination is not None and state.phase is Phase.EXITED:
            return self._wants_restart(state)
        return self._policy_of(state) != "Never"

    def _wants_restart(self, state: ContainerState) -> bool:
        return restartrules.wants_restart(state, self.policy)

    def _policy_of(self, state: ContainerState) -> str:
        return restartrules.policy_of(state, self.policy)

    def _wake(self, at: datetime) -> None:
        if self.wake_at is None or at < self.wake_at:
            self.wake_at = at

    def _emit_for(self, state: ContainerState, type: str, reason: str, message: str) -> None:
        self._out.append(Emit(type=type, reason=reason, message=message, field_path=state.field_path()))

    def states(self) -> Iterator[ContainerState]:
        return iter(self.containers.values())


def _init_role(container: Object) -> Role:
    return Role.SIDECAR if container.get("restartPolicy") == "Always" else Role.INIT


def _completed(state: ContainerState) -> bool:
    return state.phase is Phase.EXITED and state.termination is not None and not state.termination.exit.code


def _full_name(pod: Object) -> str:
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def grace_of_spec(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def deletion_grace_s(pod: Object) -> float:
    """What the deletion granted; a forced one gets the kubelet's single second."""
    grace_s = pod["metadata"].get("deletionGracePeriodSeconds")
    return max(float(grace_s), 1.0) if grace_s is not None else grace_of_spec(pod)
