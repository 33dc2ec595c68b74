"""`kubemu completion`: the script that makes a shell complete kubemu's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
      bash:  eval "$(kubemu completion bash)"
      zsh:   eval "$(kubemu completion zsh)"
      fish:  kubemu completion fish | source
    """
    maker = get_completion_class(shell)
    root = ctx.find_root().command
    if maker is None:
        raise click.ClickException(f"there is no completion for {shell}")
    click.echo(maker(root, {}, "kubemu", "_KUBEMU_COMPLETE").source())
