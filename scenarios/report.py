"""What a person reads: progress lines while a scenario plays, and the summary at its end."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

from scenarios import steps
from scenarios.describe import describe
from scenarios.play import Report, StepResult

GREEN, RED, DIM, BOLD, OFF = "\033[32m", "\033[31m", "\033[2m", "\033[1m", "\033[0m"


class Printer:
    """Plain lines on a file; on a terminal colours, and a live line for the step that runs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._live = False

    def line(self, text: str = "") -> None:
        self._clear()
        print(text, file=self._out, flush=True)

    def status(self, text: str) -> None:
        """A line that the next one replaces; nothing where there is no terminal."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{self.dim(text[:width])}", end="", file=self._out, flush=True)
            self._live = True

    def step_started(self, step: steps.Step, text: str) -> None:
        self.status(f"  … {step.number:>2}  {text}")

    def step_finished(self, result: StepResult, text: str) -> None:
        mark = self.good("✔") if result.ok else self.bad("✘")
        self.line(f"  {mark} {result.step.number:>2}  {text}  {self.dim(f'{result.took_s:.1f} s')}")

    def good(self, text: str) -> str:
        return f"{GREEN}{text}{OFF}" if self._terminal else text

    def bad(self, text: str) -> str:
        return f"{RED}{text}{OFF}" if self._terminal else text

    def dim(self, text: str) -> str:
        return f"{DIM}{text}{OFF}" if self._terminal else text

    def bold(self, text: str) -> str:
        return f"{BOLD}{text}{OFF}" if self._terminal else text

    def _clear(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=self._out)
            self._live = False


def summary(report: Report, printer: Printer) -> None:
    """What was done, what was expected, what was seen, and how long it took."""
    printer.line()
    printer.line(printer.bold(f"Summary: {report.scenario.name}"))
    for result in report.results:
        expects = isinstance(result.step.action, steps.Expect | steps.Rollout | steps.Guard | steps.Report)
        mark = printer.good("✔") if result.ok else printer.bad("✘")
        title = result.step.say or describe(result.step.action)
        printer.line(f"  {mark} {title}  {printer.dim(f'({result.took_s:.1f} s)')}")
        if result.step.say:
            printer.line(f"       {'expected' if expects else 'did'}: {describe(result.step.action)}")
        for line in textwrap.wrap(f"seen: {result.seen}", 110) if expects or not result.ok else ():
            printer.line(f"       {line}")
    for violation in report.violations:
        printer.line(f"  {printer.bad('✘')} {violation}")
    skipped = len(report.scenario.steps) - len(report.results)
    if skipped:
        printer.line(f"  {printer.dim(f'{skipped} step(s) not reached')}")
    verdict = printer.good("passed") if report.ok else printer.bad("FAILED")
    done = sum(result.ok for result in report.results)
    printer.line(f"{verdict}: {done} of {len(report.scenario.steps)} steps, {report.took_s:.1f} s")
