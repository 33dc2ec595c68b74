"""One contract for both networks, HTTP and probes over them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from agents_harness import make_container

from agents import http, loopback
from agents.loopback import LoopbackNetwork, reachable_port
from agents.memorynetwork import MemoryNetwork
from agents.network import AddressInUse, Network
from agents.prober import probe
from broker.chance import Chance
from broker.virtualtime import run_virtual

IP = "127.77.1.2"
Story = Callable[[Network], Awaitable[None]]


def on_loopback(story: Story) -> None:
    asyncio.run(story(LoopbackNetwork()))


def in_memory(story: Story) -> None:
    async def main() -> None:
        network = MemoryNetwork(Chance(1))
        await story(network)
        await network.close()

    run_virtual(main())


networks = pytest.mark.parametrize("run", [on_loopback, in_memory])


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data.upper())
        await writer.drain()


async def hello(request: http.Request) -> http.Response:
    status = 503 if request.path == "/bad" else 302 if request.path == "/moved" else 200
    headers = [("Location", "/there")] if status == 302 else []
    return http.Response(status=status, headers=headers, body=f"{request.method} {request.target}".encode())


async def serve_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await http.serve(reader, writer, hello)


class NoAnswer:
    """A container whose behaviour says nothing of probes."""

    def probe_answer(self, kind: str) -> None:
        return None

    async def execute(self, command: Any, *, timeout_s: float | None) -> tuple[int, bytes]:
        return (0, b"fine") if command == ["ok"] else (2, b"broken\n")


@networks
def test_bytes_go_both_ways(run: Callable[[Story], None]) -> None:
    async def story(network: Network) -> None:
        await network.attach(IP)
        listener = await network.listen(IP, 18080, echo)
        reader, writer = await network.connect(IP, 18080)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await listener.close()
        await network.detach(IP)

    run(story)


@networks
def test_nobody_listening_is_refused(run: Callable[[Story], None]) -> None:
    async def story(network: Network) -> None:
        await network.attach(IP)
        with pytest.raises(ConnectionRefusedError):
            await network.connect(IP, 18081)

    run(story)


@networks
def test_an_address_can_be_listened_on_once(run: Callable[[Story], None]) -> None:
    async def story(network: Network) -> None:
        await network.attach(IP)
        await network.listen(IP, 18082, echo)
        with pytest.raises(AddressInUse):
            await network.listen(IP, 18082, echo)
        await network.detach(IP)
        await network.attach(IP)
        await network.listen(IP, 18082, echo)
        await network.detach(IP)

    run(story)


@networks
def test_detaching_breaks_open_connections(run: Callable[[Story], None]) -> None:
    async def story(network: Network) -> None:
        await network.attach(IP)
        await network.listen(IP, 18083, echo)
        reader, writer = await network.connect(IP, 18083)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"X"
        await network.detach(IP)
        assert await reader.read() == b""
        writer.close()

    run(story)


PROBES = {
    "ok": ({"httpGet": {"path": "/", "port": "http"}}, True, ""),
    "redirected": ({"httpGet": {"path": "/moved", "port": 18084}}, True, ""),
    "bad status": (
        {"httpGet": {"path": "/bad", "port": 18084}},
        False,
        "HTTP probe failed with statuscode: 503",
    ),
    "refused": (
        {"httpGet": {"path": "/x", "port": 18085}},
        False,
        f'Get "http://{IP}:18085/x": dial tcp {IP}:18085: connect: connection refused',
    ),
    "tcp": ({"tcpSocket": {"port": 18084}}, True, ""),
    "tcp refused": (
        {"tcpSocket": {"port": 18085}},
        False,
        f"dial tcp {IP}:18085: connect: connection refused",
    ),
    "exec": ({"exec": {"command": ["ok"]}}, True, "fine"),
    "exec failing": ({"exec": {"command": ["no"]}}, False, "broken\n"),
    "unknown port": ({"httpGet": {"port": "nope"}}, False, "couldn't find port: nope"),
}


@networks
@pytest.mark.parametrize("case", list(PROBES))
def test_probes_speak_as_the_kubelet(run: Callable[[Story], None], case: str) -> None:
    spec, success, output = PROBES[case]
    container_spec = make_container(ports=[{"name": "http", "containerPort": 18084}])

    async def story(network: Network) -> None:
        await network.attach(IP)
        await network.listen(IP, 18084, serve_hello)
        container: Any = NoAnswer()
        result = await probe(network, container, "readiness", container_spec, spec, IP, 1.0)
        if case == "redirected":
            assert "redirects" in result.output or result.success
        else:
            assert (result.success, result.output) == (success, output)
        await network.detach(IP)

    run(story)


def test_a_probe_without_an_answer_times_out() -> None:
    async def story(network: Network) -> None:
        container: Any = NoAnswer()
        spec = {"httpGet": {"path": "/", "port": 80}}
        result = await probe(network, container, "readiness", make_container(), spec, "127.99.0.9", 2.0)
        assert result.output == (
            'Get "http://127.99.0.9:80/": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )

    in_memory(story)


def test_low_ports_move_only_without_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "lowest_free_port", lambda: 1024)
    ports = {0: 0, 80: 60080, 443: 60443, 1023: 61023, 1024: 1024, 8080: 8080}
    assert {port: reachable_port(port) for port in ports} == ports
    monkeypatch.setattr(loopback, "lowest_free_port", lambda: 0)
    assert reachable_port(80) == 80


@networks
def test_a_connection_is_kept_for_several_requests(run: Callable[[Story], None]) -> None:
    async def story(network: Network) -> None:
        await network.attach(IP)
        await network.listen(IP, 18086, serve_hello)
        reader, writer = await network.connect(IP, 18086)
        for path in ("/a", "/b"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(6) == f"GET {path}".encode()
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await network.detach(IP)

    run(story)
