"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scenarios.launch.place import State, clusters_root, read_state

F = TypeVar("F", bound=Callable[..., Any])

PACKAGED = Path(__file__).parent.parent
"""Where the scenarios that come with kubemu are."""


def cluster_option(function: F) -> F:
    return click.option(
        "--cluster", "-c", default="kubemu", show_default=True, metavar="NAME", help="Name of the cluster."
    )(function)


def profile_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--profile",
        type=click.Choice(["standard", "fast"]),
        default=default,
        show_default=True,
        help="Timings: Kubernetes' defaults, or seconds where those take minutes.",
    )


def running(cluster: str) -> tuple[Path, State]:
    """Directory and state of a running cluster; ends the command where it does not run."""
    directory = clusters_root() / cluster
    state = read_state(directory)
    if state is None:
        raise click.ClickException(f"no cluster {cluster!r} runs here; start it with `kubemu up --detach`")
    return directory, state


class ScenarioPath(click.ParamType[Path]):
    """A scenario file, or the name of one that comes with kubemu."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.is_file():
            return path
        packaged = PACKAGED / f"{Path(value).stem}.yaml"
        if packaged.is_file() and path.suffix in ("", ".yaml"):
            return packaged
        known = ", ".join(sorted(p.stem for p in PACKAGED.glob("*.yaml")))
        message = f"there is no file {value!r}, and no scenario of that name; there are {known}"
        return self.fail(message, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        names = sorted(p.stem for p in PACKAGED.glob("*.yaml"))
        items = [click.shell_completion.CompletionItem(n) for n in names if n.startswith(incomplete)]
        return [*items, click.shell_completion.CompletionItem(incomplete, type="file")]
