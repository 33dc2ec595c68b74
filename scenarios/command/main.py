"""The `kubemu` command: its groups and the way errors end it.

Exit codes: 0 done, 1 an expectation failed or the cluster could not do it, 2 the command line or a
scenario file is wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "up": "scenarios.command.up",
    "down": "scenarios.command.down",
    "status": "scenarios.command.status",
    "run": "scenarios.command.run",
    "sim": "scenarios.command.sim",
    "drill": "scenarios.command.drill",
    "logs": "scenarios.command.logs",
    "explain-scheduling": "scenarios.command.explain_scheduling",
    "kubeconfig": "scenarios.command.kubeconfig",
    "credentials": "scenarios.command.credentials",
    "completion": "scenarios.command.completion",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for: `kubemu --help` and completion stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kubemu")
def main() -> None:
    """A Kubernetes cluster that fits in a pip install.

    \b
      kubemu up                    start a cluster on this machine, until Ctrl-C
      kubemu run node-failure      play a scenario on a cluster of its own
      kubemu sim node-failure      the same on virtual time
    """
