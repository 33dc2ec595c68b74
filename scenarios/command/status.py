"""`kubemu status`: what runs, and how it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cluster.api import kinds
from cluster.api.errors import ApiError
from cluster.api.objects import Object, condition_of
from cluster.server.remote import RemoteClient
from scenarios.command.options import cluster_option, running
from scenarios.expectation import is_ready
from scenarios.launch.place import State, alive


@click.command()
@cluster_option
def command(cluster: str) -> None:
    """Show the processes, nodes and pods of a running cluster. Exit code 1 if something is amiss."""
    _, state = running(cluster)
    click.echo(f"cluster    {state.cluster}   profile {state.profile}")
    click.echo(f"API        {state.api_url}")
    click.echo(f"broker     {state.broker_url}")
    click.echo(f"kubeconfig {state.kubeconfig}")
    click.echo("processes")
    healthy = True
    for record in state.processes:
        runs = alive(record.pid)
        healthy = healthy and runs
        click.echo(f"  {record.name:<22} pid {record.pid:<8} {'running' if runs else 'ENDED'}")
    healthy = asyncio.run(_objects(state)) and healthy
    raise SystemExit(0 if healthy else 1)


async def _objects(state: State) -> bool:
    try:
        async with RemoteClient.from_kubeconfig(Path(state.kubeconfig)) as client:
            nodes = (await client.list(kinds.NODES)).items
            pods = (await client.list(kinds.PODS)).items
    except (ApiError, OSError, TimeoutError) as error:
        click.echo(f"the API does not answer: {error}")
        return False
    ready = [node for node in nodes if _node_ready(node)]
    click.echo(f"nodes      {len(ready)}/{len(nodes)} Ready")
    for node in nodes:
        if not _node_ready(node):
            click.echo(f"  {node['metadata']['name']} is not Ready")
    click.echo(f"pods       {sum(is_ready(pod) for pod in pods)}/{len(pods)} Ready")
    return len(ready) == len(nodes)


def _node_ready(node: Object) -> bool:
    condition = condition_of(node, "Ready")
    return condition is not None and condition["status"] == "True"
