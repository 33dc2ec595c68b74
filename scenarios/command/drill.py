"""`kubemu drill`: fault drills on simulated clusters or real processes, one per seed."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

import click

from broker.clock import SystemClock
from scenarios.drills.drill import Outcome, drill
from scenarios.drills.processes import drill_processes


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="How many drills.")
@click.option("--trace", type=click.File("w"), help="Write every log line, change and packet there.")
@click.option("--processes", is_flag=True, help="Break real processes instead; takes real time.")
@click.option("--keep-going", is_flag=True, help="Go on after a failure.")
def command(seed: int, seeds: int, trace: TextIO | None, processes: bool, keep_going: bool) -> None:
    """Break clusters in every way that seeds can draw, heal them, and see that they recover.

    Exit code 1 and the seed when a promise is broken. In a simulation the same seed breaks it again; with
    real processes it draws the same faults and writes, and the rest is up to the machine.
    """
    clock = SystemClock()
    failures = 0
    for number in range(seed, seed + seeds):
        started = clock.monotonic()
        if processes:
            outcome = asyncio.run(drill_processes(number))
            took = f"{clock.monotonic() - started:.1f} seconds"
        else:
            outcome = drill(number, trace=trace)
            took = f"{outcome.virtual_s:.0f} virtual seconds in {clock.monotonic() - started:.1f}"
        click.echo(f"{'✔' if outcome.ok else '✘'} seed {number}  {took}")
        if not outcome.ok:
            failures += 1
            click.echo("\n".join(_report(outcome)))
            if not keep_going:
                break
    sys.exit(1 if failures else 0)


def _report(outcome: Outcome) -> list[str]:
    options = outcome.options
    return [
        f"  {outcome.broken}",
        f"  {options.nodes} nodes, faults: {', '.join(options.faults)}",
        *(f"  noise: {rule.verdict.value} {rule.probability:.0%}" for rule in options.noise),
        *(f"  {line}" for line in outcome.story),
        f"  again: kubemu drill --seed {outcome.seed} --seeds 1",
    ]
