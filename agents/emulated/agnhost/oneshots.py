"""Commands of agnhost that look, say what they see, and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.emulated.world import FOREVER_S, Run, Sleep, err, out

if TYPE_CHECKING:
    from agents.emulated.shell import Shell
    from agents.emulated.textcommands import Command


def _entrypoint_tester(shell: Shell, words: list[str]) -> Run:
    """Its own words, as Go prints a list of texts."""
    yield out(f"[{' '.join([shell.called, 'entrypoint-tester', *words])}]\n")
    return 0


def _pause(shell: Shell, words: list[str]) -> Run:
    shell.world.trap = "exit 2"
    yield out("Paused\n")
    yield Sleep(FOREVER_S)
    return 0


def _help(shell: Shell, words: list[str]) -> Run:
    from agents.emulated.agnhost import SUBCOMMANDS

    yield out("Usage:\n  app [command]\n\nAvailable Commands:\n")
    yield out("".join(f"  {name}\n" for name in sorted(SUBCOMMANDS)))
    return 0


def _etc_hosts(shell: Shell, words: list[str]) -> Run:
    yield out(shell.world.files.read("/etc/hosts").decode(errors="replace") + "\n")
    return 0


def _resolver(key: str) -> Command:
    """What /etc/resolv.conf says under a key."""

    def command(shell: Shell, words: list[str]) -> Run:
        for line in shell.world.files.read("/etc/resolv.conf").decode().splitlines():
            if line.startswith(key):
                yield out(",".join(line.split(" ")[1:]) + "\n")
                return 0
        yield err("panic: Could not find DNS search list!\n")
        return 2

    return command


COMMANDS: dict[str, Command] = {
    "dns-server-list": _resolver("nameserver"),
    "dns-suffix": _resolver("search"),
    "entrypoint-tester": _entrypoint_tester,
    "etc-hosts": _etc_hosts,
    "help": _help,
    "pause": _pause,
}
