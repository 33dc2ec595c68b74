"""`kubemu logs`: what all processes of a cluster say, in one stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import click

from scenarios.command.options import cluster_option, running
from scenarios.logbook import LEVELS, Filter, Line, Logbook, render


@click.command()
@cluster_option
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.option("--node", default="", metavar="NAME", help="Only lines about this node.")
@click.option("--pod", default="", metavar="[NAMESPACE/]NAME", help="Only lines about this pod.")
@click.option(
    "--level", type=click.Choice(LEVELS[:4]), default="info", show_default=True, help="Lowest level."
)
@click.option("--json", "as_json", is_flag=True, help="Lines as the processes wrote them.")
def command(cluster: str, follow: bool, node: str, pod: str, level: str, as_json: bool) -> None:
    """Show the logs of all processes of a running cluster, in order of time."""
    directory, _ = running(cluster)
    book = Logbook(directory / "logs")
    wanted = Filter(node=node, pod=pod, level=level)

    def show(line: Line) -> None:
        text = json.dumps(line.fields) if as_json else render(line, colours=sys.stdout.isatty())
        click.echo(text)

    async def follow_all() -> None:
        async for line in book.follow(wanted):
            show(line)

    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(follow_all())
        return
    for line in book.read(wanted):
        show(line)
