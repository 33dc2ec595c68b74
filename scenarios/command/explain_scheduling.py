"""`kubemu explain-scheduling`: why a pod is where it is, or why it waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import click

from cluster.api.errors import ApiError
from cluster.api.objects import Object
from cluster.server.remote import RemoteClient
from scenarios.command.options import cluster_option, running


@click.command("explain-scheduling")
@click.argument("pod", metavar="[pod/]NAME")
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the pod.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster_option
def command(pod: str, namespace: str, output: str, cluster: str) -> None:
    """Show for each node which plugin refuses the pod, or what each plugin scores.

    The answer is about this moment. For a pod that has its node already, it says what the scheduler would
    do if it had to place it again.
    """
    kind, slash, name = pod.rpartition("/")
    if slash and kind not in ("pod", "pods", "po"):
        raise click.UsageError(f"{pod!r} is no pod: give its name, or pod/NAME")
    _, state = running(cluster)
    try:
        document = asyncio.run(_ask(Path(state.kubeconfig), namespace, name))
    except ApiError as error:
        if error.code == 404:
            raise click.ClickException(f"there is no pod {name!r} in namespace {namespace!r}") from None
        raise click.ClickException(error.message) from None
    except (OSError, TimeoutError) as error:
        raise click.ClickException(f"the API does not answer: {error}") from None
    if output == "json":
        click.echo(json.dumps(document, indent=2))
        return
    for line in lines_of(document):
        click.echo(line)


async def _ask(kubeconfig: Path, namespace: str, name: str) -> Object:
    async with RemoteClient.from_kubeconfig(kubeconfig) as client:
        return await client.document(f"/kubemu/v1/namespaces/{namespace}/pods/{name}/scheduling")


def lines_of(document: Object) -> Iterator[str]:
    """The explanation as a person reads it: the nodes that will do first, best first."""
    meta = document["metadata"]
    yield f"pod {meta['namespace']}/{meta['name']}: {document['state']}"
    yield f"  scheduler     {document['schedulerName']}"
    for label, field in (
        ("node", "nodeName"),
        ("nominated", "nominatedNodeName"),
        ("would choose", "wouldChoose"),
        ("message", "message"),
    ):
        if document.get(field):
            yield f"  {label:<13} {document[field]}"
    if document["refusedBy"]:
        plugins = ", ".join(document["refusedBy"])
        yield f"  {'waits for':<13} {plugins}   after {document['attempts']} attempts"
    nodes = document["nodes"]
    if not nodes:
        return
    width = max(len(node["name"]) for node in nodes)
    yield "nodes"
    for node in sorted(nodes, key=lambda node: -node.get("score", -1)):
        yield f"  {node['name']:<{width}}  {_verdict(node)}"


def _verdict(node: Object) -> str:
    if node["feasible"]:
        parts = ", ".join(f"{plugin} {score}" for plugin, score in node["scores"].items())
        return f"score {node['score']:<5} {parts}".rstrip()
    return f"refused by {node['plugin']}: {'; '.join(node['reasons'])}"
