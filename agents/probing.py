"""The probes of one pod: their states, when each is due, and what a failed one leads to.

A part of the pod actor. Timers are the actor's, keyed by container and probe; nothing runs in between.
A liveness or startup probe that failed for good is reported, and the restart is ordered by the control
plane; cut off from it for longer than `agent_autonomy_s`, the node decides by itself as a kubelet does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.container import ContainerState, Phase
from agents.host import Host, PodView
from agents.probe import KINDS, ProbeState, Result, event_message
from agents.steps import ProbeTurned, RestartNow
from broker.chance import Chance

FIRST_PROBE_SPREAD_S = 1.0
"""Probes of containers that start together are spread over this, or one period if that is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDue:
    container: str
    kind: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDone:
    container: str
    kind: str
    attempt: int
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDue:
    """No restart order came in time."""

    container: str
    kind: str
    attempt: int


After = Callable[[float, ProbeDue | OrderDue, str], None]
"""(delay in seconds, message, key): sets a timer of the pod actor."""


class Probes:
    def __init__(self, host: Host, view: PodView, chance: Callable[[], Chance], after: After) -> None:
        self._host = host
        self._view = view
        self._chance = chance
        self._after = after
        self._states: dict[tuple[str, str], ProbeState] = {}
        self._messages: dict[str, str] = {}
        """Container → why its restart is asked for."""

    def begin(self, state: ContainerState) -> None:
        """A new instance runs."""
        self._messages.pop(state.name, None)
        for kind in KINDS:
            spec = state.spec.get(f"{kind}Probe")
            if spec is None:
                self._states.pop((state.name, kind), None)
                continue
            probe = self._states[state.name, kind] = ProbeState(state.name, kind, spec, state.attempt)
            if kind == "startup" or state.started:
                self._first(probe)

    def _first(self, probe: ProbeState, waited_s: float = 0.0) -> None:
        settings = probe.settings
        spread_s = self._chance().uniform(0.0, min(settings.period_s, FIRST_PROBE_SPREAD_S))
        self._again(probe, max(settings.initial_delay_s - waited_s, 0.0) + spread_s)

    def _again(self, probe: ProbeState, delay_s: float) -> None:
        due = ProbeDue(container=probe.container, kind=probe.kind, attempt=probe.attempt)
        self._after(delay_s, due, f"probe/{probe.container}/{probe.kind}")

    def due(self, message: ProbeDue, state: ContainerState, terminating: bool) -> ProbeState | None:
        """The probe to run now; sets the next one's timer."""
        probe = self._states.get((message.container, message.kind))
        if probe is None or probe.attempt != message.attempt or state.attempt != message.attempt:
            return None
        if not state.up or probe.held or (terminating and probe.kind != "readiness"):
            return None
        self._again(probe, probe.settings.period_s)
        if probe.busy:
            return None
        probe.busy = True
        return probe

    def changes_nothing(self, message: ProbeDue, result: Result) -> bool:
        """Books a success that only goes on as before; anything else is for `done`, in the actor's turn."""
        probe = self._states.get((message.container, message.kind))
        if probe is None or probe.attempt != message.attempt or not probe.repeats(result):
            return False
        probe.busy = False
        return True

    def done(self, message: ProbeDone, state: ContainerState, age_s: float) -> ProbeTurned | None:
        """Books a result; what the machine is to be told. `age_s`: how long the instance has been running."""
        probe = self._states.get((message.container, message.kind))
        if probe is None or probe.attempt != message.attempt:
            return None
        probe.busy = False
        if not state.up:
            return None
        if not message.result.success and not probe.held:
            self._host.emit(
                self._view.uid,
                "Warning",
                "Unhealthy",
                event_message(message.kind, message.result),
                state.field_path(),
            )
        verdict = probe.book(message.result)
        if verdict is None:
            return None
        turned = ProbeTurned(
            container=probe.container, attempt=probe.attempt, probe=probe.kind, success=verdict
        )
        if probe.kind == "startup" and verdict:
            for kind in ("liveness", "readiness"):
                if (gated := self._states.get((probe.container, kind))) is not None:
                    self._first(gated, age_s)
            return turned
        if probe.kind == "readiness":
            return turned
        self._messages[probe.container] = event_message(probe.kind, message.result)
        self._ask_for_restart(probe, state)
        return None

    def _ask_for_restart(self, probe: ProbeState, state: ContainerState) -> None:
        timings = self._host.timings
        message = self._messages.get(probe.container, "")
        self._host.probe_failed(self._view.uid, probe.container, probe.kind, state.restart_count, message)
        due = OrderDue(container=probe.container, kind=probe.kind, attempt=probe.attempt)
        delay_s = timings.restart_order_timeout_s
        silence_s = self._host.cut_off_s()
        if silence_s:
            delay_s = max(min(delay_s, timings.agent_autonomy_s - silence_s), 0.0)
        self._after(delay_s, due, f"order/{probe.container}")

    def order_due(self, message: OrderDue, state: ContainerState) -> RestartNow | None:
        """Nobody ordered: the restart, if the node is on its own by now; else it is asked for again."""
        probe = self._states.get((message.container, message.kind))
        if probe is None or probe.attempt != message.attempt or not self._awaits_restart(probe, state):
            return None
        if self._host.cut_off_s() >= self._host.timings.agent_autonomy_s:
            return self._restart(probe)
        self._ask_for_restart(probe, state)
        return None

    def ordered(
        self, container: str, expected_restart_count: int, state: ContainerState
    ) -> RestartNow | None:
        """An order of the control plane; None where it is about another instance."""
        if state.restart_count != expected_restart_count or state.phase is not Phase.RUNNING:
            return None
        held = (self._states.get((container, kind)) for kind in ("startup", "liveness"))
        probe = next((p for p in held if p is not None and p.verdict is False), None)
        if probe is None or probe.attempt != state.attempt:
            return None
        return self._restart(probe)

    def _awaits_restart(self, probe: ProbeState, state: ContainerState) -> bool:
        return state.attempt == probe.attempt and state.phase is Phase.RUNNING and probe.held

    def _restart(self, probe: ProbeState) -> RestartNow:
        return RestartNow(
            container=probe.container,
            attempt=probe.attempt,
            probe=probe.kind,
            grace_s=probe.settings.grace_s,
        )
