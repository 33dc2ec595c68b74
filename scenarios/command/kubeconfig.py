"""`kubemu kubeconfig`: how kubectl and every other client reach a running cluster."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.command.options import cluster_option, running


@click.command()
@cluster_option
@click.option("--path", "path_only", is_flag=True, help="Print the file's path instead of its content.")
def command(cluster: str, path_only: bool) -> None:
    """Print the administrator's kubeconfig of a running cluster.

    \b
      export KUBECONFIG=$(kubemu kubeconfig --path)
      kubectl get nodes
    """
    _, state = running(cluster)
    click.echo(state.kubeconfig if path_only else Path(state.kubeconfig).read_text(), nl=path_only)
