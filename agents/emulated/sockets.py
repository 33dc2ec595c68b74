"""Commands of the small shell for sockets and links: nc, ip, ping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.emulated.netcommands import address_of
from agents.emulated.textcommands import Command, options
from agents.emulated.world import Ask, Run, Write, err, out, seen_from

if TYPE_CHECKING:
    from agents.emulated.shell import Shell

PATIENCE_S = 5.0
LISTEN_S = 3600.0
_PIECE = 1 << 20


def nc(shell: Shell, words: list[str]) -> Run:
    given, rest = options(words, "wipq")
    if "l" in given:
        return (yield from _listen(shell, given, rest))
    if len(rest) < 2:
        yield err("nc: usage: nc [-zvu] [-w SECONDS] HOST PORT\n")
        return 1
    host, port = rest[0], int(rest[1]) if rest[1].isdigit() else 0
    ip = address_of(shell.world, host)
    if ip is None:
        yield err(f"nc: bad address '{host}'\n")
        return 1
    timeout_s = float(given.get("w") or PATIENCE_S)
    data = b"" if "z" in given else (yield from shell.read_all())
    talk = _datagrams if "u" in given else _stream

    async def work() -> bytes:
        return await talk(shell, seen_from(shell.world, ip), port, data, timeout_s, "z" in given)

    try:
        answer: bytes = yield Ask(work)
    except OSError as error:
        if "v" in given or "z" not in given:
            why = "Connection timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
            yield err(f"nc: {host} ({ip}:{port}): {why}\n")
        return 1
    if "v" in given:
        yield err(f"{host} ({ip}:{port}) open\n")
    yield Write("stdout", answer)
    return 0


async def _stream(shell: Shell, ip: str, port: int, data: bytes, timeout_s: float, only_look: bool) -> bytes:
    assert shell.world.network is not None
    async with asyncio.timeout(timeout_s):
        source = shell.world.place.pod_ip
        reader, writer = await shell.world.network.connect(ip, port, source_ip=source)
        try:
            if only_look:
                return b""
            writer.write(data)
            writer.write_eof()
            return await reader.read(_PIECE)
        finally:
            writer.close()


async def _datagrams(
    shell: Shell, ip: str, port: int, data: bytes, timeout_s: float, only_look: bool
) -> bytes:
    """Sends the input in one piece and hears what comes back until the time is over."""
    assert shell.world.network is not None
    heard: list[bytes] = []
    socket = await shell.world.network.datagrams(
        shell.world.place.pod_ip, 0, lambda received, sender: heard.append(received)
    )
    try:
        socket.send(data, (ip, port))
        await asyncio.sleep(0 if only_look else timeout_s)
        return b"".join(heard)
    finally:
        await socket.close()


def _listen(shell: Shell, given: dict[str, str], rest: list[str]) -> Run:
    """Serves one connection: the input goes out, what comes is printed."""
    port = int(given.get("p") or (rest[-1] if rest else 0))
    data = (yield from shell.read_all()) if shell.stdin.data or not shell.stdin.ended else b""

    async def work() -> bytes:
        assert shell.world.network is not None
        came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            received = await reader.read(_PIECE)
            if not came.done():
                came.set_result(received)

        listener = await shell.world.network.listen(shell.world.place.pod_ip, port, serve)
        try:
            async with asyncio.timeout(float(given.get("w") or LISTEN_S)):
                return await came
        finally:
            await listener.close()

    try:
        received: bytes = yield Ask(work)
    except OSError as error:
        yield err(f"nc: {error}\n")
        return 1
    yield Write("stdout", received)
    return 0


def ip(shell: Shell, words: list[str]) -> Run:
    """Shows the pod's link. Only who may administer the network can change it, to no effect."""
    place = shell.world.place
    _, rest = options(words)
    match rest:
        case [
            ("link" | "l" | "addr" | "a" | "address" | "route" | "r"),
            ("add" | "del" | "set" | "change"),
            *_,
        ]:
            if shell.world.network_admin:
                return 0
            yield err("ip: RTNETLINK answers: Operation not permitted\n")
            return 2
        case [("route" | "r"), *_]:
            yield out(
                f"default via 169.254.1.1 dev eth0\n169.254.1.1 dev eth0 scope link src {place.pod_ip}\n"
            )
            return 0
        case [("link" | "l" | "addr" | "a" | "address"), *_]:
            yield out("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue qlen 1000\n")
            yield out("    inet 127.0.0.1/8 scope host lo\n")
            yield out("2: eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue\n")
            yield out(f"    inet {place.pod_ip}/32 scope global eth0\n")
            return 0
    yield err("BusyBox ip: usage: ip [OPTIONS] address|route|link [ARGS]\n")
    return 1


COMMANDS: dict[str, Command] = {"ip": ip, "nc": nc}
