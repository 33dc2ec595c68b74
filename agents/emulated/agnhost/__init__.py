"""The image with which clusters are tested: one program of many commands, the first argument names which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.emulated.agnhost import (
    connect,
    grpchealthchecking,
    guestbook,
    incluster,
    logs,
    mounttest,
    netexec,
    nettest,
    oneshots,
    reviews,
    servers,
)
from agents.emulated.world import Run, err

if TYPE_CHECKING:
    from agents.emulated.shell import Shell
    from agents.emulated.textcommands import Command

SUBCOMMANDS: dict[str, Command] = {
    **oneshots.COMMANDS,
    **servers.COMMANDS,
    **reviews.COMMANDS,
    "connect": connect.connect,
    "grpc-health-checking": grpchealthchecking.grpc_health_checking,
    "guestbook": guestbook.guestbook,
    "inclusterclient": incluster.inclusterclient,
    "logs-generator": logs.logs_generator,
    "mounttest": mounttest.mounttest,
    "netexec": netexec.netexec,
    "nettest": nettest.nettest,
    "test-service-account-issuer-discovery": incluster.issuer_discovery,
}


def agnhost(shell: Shell, words: list[str]) -> Run:
    name = words[0] if words else "pause"
    command = SUBCOMMANDS.get(name)
    if command is None:
        yield err(f'Error: unknown command "{name}" for "app"\nRun \'app --help\' for usage.\n')
        return 1
    try:
        return (yield from command(shell, words[1:]))
    except ValueError as error:
        yield err(f"Error: invalid argument: {error}\n")
        return 1
