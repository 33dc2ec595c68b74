"""`kubemu credentials`: the users of a broker that is not the embedded one, e.g. Mosquitto in compose."""

from __future__ import annotations

import json
from pathlib import Path

import click

from broker.chance import Chance
from broker.credentials import new_password, write_mosquitto_files
from broker.topics import CONTROL_USER


@click.command()
@click.option(
    "--cluster", default="kubemu", show_default=True, metavar="NAME", help="Whose topics they may use."
)
@click.option("--nodes", type=click.IntRange(1, 1000), default=64, show_default=True)
@click.option(
    "--prefix", default="node-", show_default=True, help="Nodes are named this and a number from 1."
)
@click.option(
    "--broker-folder", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Gets Mosquitto's password and ACL files.",
)  # fmt: skip
@click.option(
    "--folder", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Gets control.json for the controller manager and nodes.json for the agents.",
)  # fmt: skip
def command(cluster: str, nodes: int, prefix: str, broker_folder: Path, folder: Path) -> None:
    """Make the users of an MQTT broker: one for the controller manager, one for each node.

    Does nothing where the files exist already, so that a restarted compose project keeps its users.
    """
    control_file, nodes_file = folder / "control.json", folder / "nodes.json"
    if control_file.exists() and nodes_file.exists():
        click.echo("the credentials exist already")
        return
    chance = Chance.from_entropy()
    names = [f"{prefix}{number}" for number in range(1, nodes + 1)]
    passwords = {name: new_password(chance) for name in (CONTROL_USER, *names)}
    broker_folder.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_mosquitto_files(broker_folder, cluster, passwords, chance)
    nodes_file.touch(mode=0o600)
    nodes_file.write_text(json.dumps({name: passwords[name] for name in names}))
    control_file.touch(mode=0o600)
    control_file.write_text(json.dumps({CONTROL_USER: passwords[CONTROL_USER]}))
    click.echo(f"made the users of {cluster}: {CONTROL_USER} and {nodes} nodes")
