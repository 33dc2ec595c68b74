"""`kubemu up`: a cluster on this machine, in the foreground or in the background."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click

from broker.clock import SystemClock
from scenarios.command.options import cluster_option, profile_option
from scenarios.launch.cluster import ClusterSpec, LaunchError, LocalCluster
from scenarios.launch.control import ControlServer
from scenarios.launch.place import NoFreeSlot, clusters_root, read_state
from scenarios.report import Printer
from scenarios.watching import NodeWatch

DETACHED_PATIENCE_S = 90.0


@click.command()
@cluster_option
@click.option("--nodes", "-n", type=click.IntRange(0, 1000), default=3, show_default=True)
@click.option(
    "--per-process", type=click.IntRange(1, 250), default=1, show_default=True,
    help="Nodes that share one agent process.",
)  # fmt: skip
@click.option(
    "--broker", default="", metavar="URL", help="An MQTT broker to use: mqtt://user:password@host:port."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the API.  [default: any free one]"
)
@click.option("--journal", type=click.Choice(["sqlite", "memory"]), default="sqlite", show_default=True)
@profile_option("standard")
@click.option(
    "--scheduler-config", type=click.Path(exists=True, dir_okay=False, resolve_path=True), metavar="FILE",
    help="Profiles of the scheduler: a KubeSchedulerConfiguration in YAML.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True
)
@click.option("--detach", "-d", is_flag=True, help="Run in the background until `kubemu down`.")
def command(
    cluster: str,
    nodes: int,
    per_process: int,
    broker: str,
    port: int,
    journal: str,
    profile: str,
    scheduler_config: str | None,
    log_level: str,
    detach: bool,
) -> None:
    """Start a cluster: a broker, a controller manager and node agents, each its own process."""
    directory = clusters_root() / cluster
    if read_state(directory) is not None:
        raise click.ClickException(f"a cluster {cluster!r} runs already; end it with `kubemu down`")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    if detach:
        _detach(directory, cluster)
        return
    spec = ClusterSpec(
        name=cluster, nodes=nodes, per_process=per_process, profile=profile, broker_url=broker, port=port,
        journal=journal, log_level=log_level,
        control_flags=("--scheduler-config", scheduler_config) if scheduler_config else (),
    )  # fmt: skip
    try:
        asyncio.run(_serve(spec, directory))
    except (LaunchError, NoFreeSlot) as error:
        raise click.ClickException(str(error)) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _serve(spec: ClusterSpec, directory: Path) -> None:
    printer = Printer(sys.stdout)
    clock = SystemClock()
    started = clock.monotonic()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    cluster = LocalCluster(spec, directory, progress=lambda text: printer.line(f"  {text}"))
    control = ControlServer(cluster, cluster.control_socket)
    printer.line(f"starting {spec.name}")
    try:
        await cluster.start()
        await control.start()
        printer.line(f"  API at {cluster.api_url} after {clock.monotonic() - started:.1f} s")
        printer.line(f"  export KUBECONFIG={cluster.kubeconfig}")
        async with NodeWatch(cluster.kubeconfig, printer, expected=spec.nodes) as watch:
            await watch.until_ready(ended)
            printer.line(
                f"  {watch.ready}/{spec.nodes} nodes Ready after {clock.monotonic() - started:.1f} s"
            )
            (directory / "ready").touch()
            await watch.show_until(ended)
        printer.line("stopping")
    finally:
        await control.stop()
        await cluster.stop()


def _detach(directory: Path, cluster: str) -> None:
    """Runs the same command in a session of its own and waits until its nodes are ready."""
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    log = directory.parent / f"{cluster}.up.log"
    with log.open("wb") as output:
        background = subprocess.Popen(
            [sys.executable, "-m", "scenarios", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    ready = asyncio.run(_until_ready(background, directory))
    click.echo(log.read_text(errors="replace"), nl=False)
    if not ready:
        if background.poll() is None:
            os.kill(background.pid, signal.SIGTERM)
        raise click.ClickException("the cluster did not start")
    log.unlink()


async def _until_ready(background: subprocess.Popen[bytes], directory: Path) -> bool:
    clock = SystemClock()
    deadline = clock.monotonic() + DETACHED_PATIENCE_S
    while clock.monotonic() < deadline and background.poll() is None:
        if (directory / "ready").exists():
            return True
        await asyncio.sleep(0.02)
    return False
