"""`kubemu sim`: plays a scenario on a simulated cluster, on virtual time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

import click

from broker.clock import SystemClock
from scenarios.command.options import ScenarioPath
from scenarios.document import DocumentError
from scenarios.report import Printer, summary
from scenarios.simulation import simulate
from scenarios.steps import load


@click.command()
@click.argument("scenario", type=ScenarioPath())
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same run, to the byte.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Play this many seeds from there on.",
)
@click.option(
    "--trace",
    type=click.File("w"),
    help="Write every log line, change and packet there ('-' is standard output).",
)
def command(scenario: Path, seed: int, seeds: int, trace: TextIO | None) -> None:
    """Play SCENARIO in one process on virtual time: no broker, no sockets, no waiting.

    Exit codes as for `kubemu run`; a failure names its seed.
    """
    try:
        plan = load(scenario)
    except DocumentError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)
    printer = Printer(sys.stderr if trace is sys.stdout else sys.stdout)
    clock = SystemClock()
    for number in range(seed, seed + seeds):
        started = clock.monotonic()
        printer.line(printer.bold(f"{plan.name}  ({plan.file}, seed {number})"))
        report = simulate(plan, seed=number, trace=trace, audience=printer)
        summary(report, printer)
        printer.line(f"{report.took_s:.1f} virtual seconds in {clock.monotonic() - started:.1f} real ones")
        if not report.ok:
            printer.line(f"to see it again: kubemu sim {scenario} --seed {number}")
            sys.exit(1)
