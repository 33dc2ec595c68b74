"""Plays a scenario: one step after the other, guards watched meanwhile, results kept for the summary.

The first failed step ends the scenario: what follows was written for a world that does not exist.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from broker.cause import caused_by
from broker.clock import Clock
from broker.supervision import Tasks
from scenarios import steps
from scenarios.describe import describe
from scenarios.drill import POLL_S, Drill, StepFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    step: steps.Step
    ok: bool
    seen: str
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    scenario: steps.Scenario
    results: list[StepResult]
    violations: list[str]
    took_s: float

    @property
    def ok(self) -> bool:
        return (
            not self.violations
            and len(self.results) == len(self.scenario.steps)
            and all(result.ok for result in self.results)
        )


class Audience(Protocol):
    """Who is told how it goes."""

    def step_started(self, step: steps.Step, text: str) -> None: ...

    def step_finished(self, result: StepResult, text: str) -> None: ...


async def play(scenario: steps.Scenario, drill: Drill, clock: Clock, audience: Audience) -> Report:
    """Plays to the end or to the first failure."""
    started = clock.monotonic()
    results: list[StepResult] = []
    violations: list[str] = []
    watchers = Tasks()
    watchers.start("guards", _watch_guards(drill, violations))
    try:
        for step in scenario.steps:
            result = await _play_step(step, drill, clock, audience)
            results.append(result)
            if not result.ok or violations:
                break
    finally:
        await watchers.close()
        await drill.close()
    return Report(
        scenario=scenario, results=results, violations=violations, took_s=clock.monotonic() - started
    )


async def _play_step(step: steps.Step, drill: Drill, clock: Clock, audience: Audience) -> StepResult:
    text = describe(step.action)
    audience.step_started(step, text)
    started = clock.monotonic()
    with caused_by(f"s-{step.number}"):
        try:
            ok, seen = True, await drill.perform(step.action)
        except StepFailed as failure:
            ok, seen = False, str(failure)
    result = StepResult(step=step, ok=ok, seen=seen, took_s=clock.monotonic() - started)
    audience.step_finished(result, text)
    return result


async def _watch_guards(drill: Drill, violations: list[str]) -> None:
    while True:
        violation = await drill.violation()
        if violation:
            violations.append(violation)
            return
        await asyncio.sleep(POLL_S)
