"""Successes that only go on as before change nothing; everything else is for the actor's turn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from agents_harness import make_container

from agents.container import ContainerState, Role
from agents.host import Host, PodView
from agents.probe import Result
from agents.probing import OrderDue, ProbeDone, ProbeDue, Probes
from agents.runtime import Exit
from broker.chance import Chance
from cluster.api.timings import STANDARD

GOOD, BAD = Result(success=True), Result(success=False, output="no")


class QuietHost:
    """Takes events and does nothing."""

    timings = STANDARD

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asked: list[str] = []

    def emit(self, uid: str, type: str, reason: str, message: str, field_path: str = "") -> None:
        self.told.append(message)

    def probe_failed(self, uid: str, container: str, probe: str, restart_count: int, message: str) -> None:
        self.asked.append(probe)

    def cut_off_s(self) -> float:
        return 0.0


class Stage:
    """One running container with one probe."""

    def __init__(self, kind: str, **settings: Any) -> None:

        self.kind = kind
        self.host = QuietHost()
        self.timers: list[ProbeDue | OrderDue] = []
        spec = make_container(**{f"{kind}Probe": {"tcpSocket": {"port": 80}, **settings}})
        self.state = ContainerState(spec, Role.MAIN, STANDARD)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        self.state.launch(now)
        self.state.launched("c", "i", now)
        self.probes = Probes(
            cast(Host, self.host),
            PodView(uid="u", namespace="n", name="p"),
            lambda: Chance(1),
            lambda delay_s, message, key: self.timers.append(message),
        )
        self.probes.begin(self.state)

    def due(self) -> ProbeDue:
        return ProbeDue(container="web", kind=self.kind, attempt=self.state.attempt)

    def ask(self) -> bool:
        """Whether a probe is to be run."""
        return self.probes.due(self.due(), self.state, False) is not None

    def book(self, result: Result) -> object:
        done = ProbeDone(container="web", kind=self.kind, attempt=self.state.attempt, result=result)
        return self.probes.done(done, self.state, 0.0)


def test_the_first_success_is_booked_and_the_next_ones_are_not() -> None:
    stage = Stage("readiness")
    assert stage.ask()
    assert not stage.probes.changes_nothing(stage.due(), GOOD)
    assert stage.book(GOOD) is not None
    for _ in range(3):
        assert stage.ask()
        assert not stage.ask(), "they never overlap"
        assert stage.probes.changes_nothing(stage.due(), GOOD)


@pytest.mark.parametrize(
    "result", [BAD, Result(success=False, errored=True, output="?")], ids=["bad", "errored"]
)
def test_a_failure_is_always_booked(result: Result) -> None:
    stage = Stage("readiness")
    stage.ask()
    stage.book(GOOD)
    stage.ask()
    assert not stage.probes.changes_nothing(stage.due(), result)
    stage.book(result)
    assert stage.host.told


def test_a_success_after_a_failure_is_booked() -> None:
    """The run of failures has to end, though the verdict stays as it is."""
    stage = Stage("liveness", failureThreshold=2)
    for result in (GOOD, BAD):
        stage.ask()
        stage.book(result)
    stage.ask()
    assert not stage.probes.changes_nothing(stage.due(), GOOD)
    stage.book(GOOD)
    stage.ask()
    stage.book(BAD)
    assert stage.host.asked == [], "two failures, but not in a row"


def test_what_is_about_another_instance_is_not_booked() -> None:

    stage = Stage("readiness")
    stage.ask()
    stage.book(GOOD)
    stage.ask()
    old = stage.due()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    stage.state.exited(Exit(code=1, reason="Error"), now)
    stage.state.launch(now)
    stage.state.launched("c2", "i", now)
    stage.probes.begin(stage.state)
    assert not stage.probes.changes_nothing(old, GOOD)
    assert stage.probes.due(old, stage.state, False) is None
    assert stage.ask(), "the new instance's probe is not busy"
