"""agnhost connect: tries a connection and says in one word why it failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.emulated.netcommands import address_of
from agents.emulated.program import seconds_of
from agents.emulated.textcommands import options, spaced
from agents.emulated.world import Ask, Run, err, seen_from

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

PATIENCE_S = 120.0


def connect(shell: Shell, words: list[str]) -> Run:
    given, rest = options(spaced(words, "timeout", "protocol"))
    target = rest[0] if rest else ""
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdigit():
        yield err(f"UNKNOWN: address {target}: missing port in address\n")
        return 1
    ip = address_of(shell.world, host.strip("[]"))
    if ip is None:
        yield err(f"DNS: lookup {host}: no such host\n")
        return 1
    if given.get("protocol", "tcp").lower() != "tcp":
        yield err("OTHER: protocol not supported\n")
        return 1
    timeout_s = seconds_of(given["timeout"]) if given.get("timeout") else PATIENCE_S

    async def work() -> None:
        assert shell.world.network is not None
        async with asyncio.timeout(timeout_s or PATIENCE_S):
            source = shell.world.place.pod_ip
            _, writer = await shell.world.network.connect(
                seen_from(shell.world, ip), int(port), source_ip=source
            )
            writer.close()

    try:
        yield Ask(work)
    except TimeoutError:
        yield err("TIMEOUT\n")
        return 1
    except ConnectionRefusedError:
        yield err("REFUSED\n")
        return 1
    except OSError as error:
        yield err(f"OTHER: dial tcp {target}: {error.strerror or error}\n")
        return 1
    return 0
