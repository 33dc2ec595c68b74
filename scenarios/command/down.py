"""`kubemu down`: ends a cluster that runs in the background."""

from __future__ import annotations

import asyncio
import os
import signal

import click

from broker.clock import SystemClock
from scenarios.command.options import cluster_option, running
from scenarios.launch.place import alive

PATIENCE_S = 20.0


@click.command()
@cluster_option
def command(cluster: str) -> None:
    """End a running cluster: all its processes, and its directory."""
    _, state = running(cluster)
    os.kill(state.launcher_pid, signal.SIGTERM)
    if not asyncio.run(_gone(state.launcher_pid)):
        os.kill(state.launcher_pid, signal.SIGKILL)  # its children die with it
        raise click.ClickException(f"{cluster} did not end within {PATIENCE_S:g} s and was killed")
    click.echo(f"{cluster} is down")


async def _gone(pid: int) -> bool:
    clock = SystemClock()
    deadline = clock.monotonic() + PATIENCE_S
    while alive(pid):
        if clock.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
