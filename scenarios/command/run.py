"""`kubemu run`: plays a scenario on a cluster of real processes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from agents.loopback import LoopbackNetwork
from broker.clock import SystemClock
from cluster.api.registry import Registry
from cluster.server.remote import RemoteClient
from scenarios.command.options import ScenarioPath, running
from scenarios.container_load import ContainerSender
from scenarios.containers import ContainerFaults
from scenarios.document import DocumentError
from scenarios.drill import Drill
from scenarios.faults import FaultError, Faults
from scenarios.launch.cluster import ClusterSpec, LaunchError, LocalCluster
from scenarios.launch.control import ControlledCluster
from scenarios.launch.place import NoFreeSlot, TemporaryPlace
from scenarios.load import NetworkSender
from scenarios.play import Report, play
from scenarios.report import Printer, summary
from scenarios.steps import Scenario, load
from scenarios.watching import NodeWatch

NODES_WITHIN_S = 60.0


@click.command()
@click.argument("scenario", type=ScenarioPath())
@click.option(
    "--cluster", "-c", default="", metavar="NAME", help="Play on this running cluster, not on an own one."
)
@click.option("--compose", default="", metavar="PROJECT", help="Play on this docker compose project.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="How to reach the API of the compose project.",
)
@click.option(
    "--nodes", type=click.IntRange(1, 100), help="Nodes of the own cluster, instead of the scenario's."
)
@click.option(
    "--profile", type=click.Choice(["standard", "fast"]), help="Timings, instead of the scenario's."
)
@click.option(
    "--keep-logs",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy the logs of the own cluster's processes there at the end.",
)
def command(
    scenario: Path,
    cluster: str,
    compose: str,
    kubeconfig: Path | None,
    nodes: int | None,
    profile: str | None,
    keep_logs: Path | None,
) -> None:
    """Play SCENARIO, a file or the name of one that comes with kubemu.

    Starts a cluster of its own unless told to use a running one, and leaves nothing behind.
    Exit code 0: all went as expected; 1: an expectation failed; 2: the scenario file is wrong.
    """
    try:
        plan = load(scenario)
    except DocumentError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)
    if compose and kubeconfig is None:
        raise click.UsageError("--compose needs --kubeconfig: the README tells how to get it")
    printer = Printer(sys.stdout)
    if compose and kubeconfig is not None:
        target: Any = _compose(compose, kubeconfig)
    elif cluster:
        _, state = running(cluster)
        target = _attached(Path(state.kubeconfig), Path(state.control_socket))
    else:
        spec = ClusterSpec(
            name="run", nodes=nodes or plan.cluster.nodes, profile=profile or plan.cluster.profile
        )
        target = _own(spec, printer, keep_logs)
    sys.exit(asyncio.run(_interruptible(_play(plan, target, printer))))


async def _interruptible(work: Any) -> int:
    """SIGTERM is treated as Ctrl-C: everything is cleaned up."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        code: int = await work
    except asyncio.CancelledError:
        click.echo("interrupted; everything is cleaned up", err=True)
        return 130
    return code


async def _play(plan: Scenario, target: Any, printer: Printer) -> int:
    printer.line(printer.bold(f"{plan.name}  ({plan.file})"))
    clock = SystemClock()
    try:
        async with target as (client, faults):
            drill = Drill(
                client,
                faults,
                clock=clock,
                registry=Registry(),
                directory=plan.file.parent,
                sender=(
                    ContainerSender(faults)
                    if isinstance(faults, ContainerFaults)
                    else NetworkSender(LoopbackNetwork(), clock)
                ),
            )
            printer.line("steps")
            report: Report = await play(plan, drill, clock, printer)
            summary(report, printer)
    except (LaunchError, NoFreeSlot, FaultError) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    return 0 if report.ok else 1


@asynccontextmanager
async def _own(
    spec: ClusterSpec, printer: Printer, keep_logs: Path | None
) -> AsyncIterator[tuple[RemoteClient, Faults]]:
    """A cluster for this one scenario."""
    place = TemporaryPlace()
    clock = SystemClock()
    started = clock.monotonic()
    printer.line("starting")
    cluster = LocalCluster(spec, place.path, progress=lambda text: printer.line(f"  {text}"))
    try:
        await cluster.start()
        printer.line(f"  API at {cluster.api_url} after {clock.monotonic() - started:.1f} s")
        async with NodeWatch(cluster.kubeconfig, printer, expected=spec.nodes) as watch:
            try:
                await asyncio.wait_for(watch.until_ready(asyncio.Event()), NODES_WITHIN_S)
            except TimeoutError:
                missing = f"only {watch.ready} of {spec.nodes} nodes are Ready after {NODES_WITHIN_S:g} s"
                raise LaunchError(missing) from None
        printer.line(f"  {watch.ready}/{spec.nodes} nodes Ready after {clock.monotonic() - started:.1f} s")
        async with RemoteClient.from_kubeconfig(cluster.kubeconfig) as client:
            yield client, cluster
    finally:
        await cluster.stop()
        if keep_logs is not None:
            shutil.copytree(place.path / "logs", keep_logs, dirs_exist_ok=True)
        place.close()


@asynccontextmanager
async def _attached(kubeconfig: Path, socket: Path) -> AsyncIterator[tuple[RemoteClient, Faults]]:
    async with RemoteClient.from_kubeconfig(kubeconfig) as client:
        yield client, ControlledCluster(socket)


@asynccontextmanager
async def _compose(project: str, kubeconfig: Path) -> AsyncIterator[tuple[RemoteClient, Faults]]:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(RemoteClient.from_kubeconfig(kubeconfig))
        faults = await stack.enter_async_context(ContainerFaults(project))
        yield client, faults
