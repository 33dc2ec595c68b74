"""What passes through the ingress proxy: bodies as they come, other protocols, and answers of its own.

Also the health checks of load balancers, which are HTTP servers of the data plane too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from service_objects import make_endpoint, make_slice
from test_service_connections import (
    INGRESS_IP,
    NODE_IP,
    POD_A,
    POD_B,
    PORT,
    Machine,
    in_memory,
    networks,
    on_loopback,
    until,
    web,
)

from agents import http
from cluster.api.objects import Object

NGINX = "nginx.ingress.kubernetes.io/"
Story = Callable[[Machine], Awaitable[None]]


def ingress(**notes: str) -> tuple[Object, Object]:
    """For any host, all paths, to the Service `web`; and its class."""
    backend = {"service": {"name": "web", "port": {"number": PORT}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    site = {
        "kind": "Ingress",
        "metadata": {
            "namespace": "default",
            "name": "site",
            "annotations": {NGINX + name.replace("_", "-"): value for name, value in notes.items()},
        },
        "spec": {"ingressClassName": "kubemu", "rules": [{"http": {"paths": paths}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": INGRESS_IP}]}},
    }
    spec = {"controller": "kubemu.dev/ingress"}
    return {"kind": "IngressClass", "metadata": {"name": "kubemu"}, "spec": spec}, site


async def talk(one: Machine, text: bytes, *, ip: str = INGRESS_IP, port: int = 80) -> bytes:
    """Everything that comes back until the connection ends."""
    async with asyncio.timeout(10):
        reader, writer = await one.network.connect(ip, port)
        writer.write(text)
        answer = await reader.read()
        writer.close()
    return answer


async def raw_server(one: Machine, handler: Any, ip: str = POD_A) -> None:
    await one.plane.network.attach(ip)
    await one.plane.network.listen(ip, 8080, handler)


async def ready(one: Machine, *objects: Object) -> None:
    one.tell(web(), make_slice(make_endpoint(POD_A)), *objects)
    await until(lambda: one.network.connect(INGRESS_IP, 80))


@networks
def test_web_sockets_go_through(run: Callable[[Story], None]) -> None:
    """After 101 both sides speak as they like, from the first byte that came with it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head.lower()
        assert b"sec-websocket-key: abc" in head.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n!"
        )
        while data := await reader.read(100):
            writer.write(data.upper())

    async def story(one: Machine) -> None:
        await raw_server(one, echo)
        await ready(one, *ingress())
        reader, writer = await one.network.connect(INGRESS_IP, 80)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: abc\r\n\r\nearly"
        )
        async with asyncio.timeout(10):
            assert b" 101 " in await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(6) == b"!EARLY"
            writer.write(b"later")
            assert await reader.readexactly(5) == b"LATER"
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()

    run(story)


@networks
def test_an_answer_flows_while_it_is_made(run: Callable[[Story], None]) -> None:
    """Its first part arrives before the endpoint has written the rest."""

    async def story(one: Machine) -> None:
        goes_on = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await goes_on.wait()
            writer.write(b"4\r\nrest\r\n0\r\n\r\n")
            await writer.drain()

        await raw_server(one, slow)
        await ready(one, *ingress())
        reader, writer = await one.network.connect(INGRESS_IP, 80)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"first")
            goes_on.set()
            assert b"rest" in await reader.read()
        writer.close()

    run(story)


@networks
@pytest.mark.parametrize(("size", "status"), [("0", 200), ("3m", 200), ("1k", 413), ("", 413)])
def test_bodies_have_a_limit(run: Callable[[Story], None], size: str, status: int) -> None:
    """2 MiB, with a length and in chunks."""

    async def story(one: Machine) -> None:
        got: list[int] = []

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            size, tail = 0, b""
            while not (tail.endswith(b"0\r\n\r\n") if b"chunked" in head else size == 2 << 20):
                if not (data := await reader.read(65536)):
                    return
                size, tail = size + len(data), (tail + data)[-5:]
            got.append(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        await raw_server(one, count)
        await ready(one, *ingress(**({"proxy_body_size": size} if size else {})))
        body = b"x" * (2 << 20)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        whole = head + b"Content-Length: 2097152\r\n\r\n" + body
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + body + b"\r\n0\r\n\r\n"
        for request in (whole, chunked):
            reader, writer = await one.network.connect(INGRESS_IP, 80)
            sending = asyncio.ensure_future(_write(writer, request))
            async with asyncio.timeout(10):
                line = await reader.readline()
            sending.cancel()
            writer.close()
            assert line.split()[1] == str(status).encode()
        assert [size >= 2 << 20 for size in got] == ([True, True] if status == 200 else [])

    run(story)


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    try:
        writer.write(data)
        await writer.drain()
    except OSError:
        return


def test_an_endpoint_that_is_gone_is_passed_over() -> None:
    """Three requests on one connection; each finds the endpoint that lives."""

    async def story(one: Machine) -> None:
        await one.serve(POD_A)
        await ready(one, *ingress())
        one.tell(make_slice(make_endpoint(POD_A), make_endpoint(POD_B)))
        request = (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2
            + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        assert (await talk(one, request)).count(POD_A.encode()) == 3

    on_loopback(story)


ANSWERS = {
    "nobody there": ({}, "", b"503"),
    "not for everybody": ({"whitelist_source_range": "192.0.2.0/24"}, POD_A, b"403"),
    "elsewhere for ever": ({"permanent_redirect": "https://x.example"}, POD_A, b"301"),
    "elsewhere for now": ({"temporal_redirect": "https://x.example"}, POD_A, b"302"),
    "its root": ({"app_root": "/app"}, POD_A, b"302"),
    "not HTTP": ({}, "broken", b"502"),
}


@pytest.mark.parametrize("case", list(ANSWERS))
def test_answers_of_the_proxy_itself(case: str) -> None:
    notes, endpoint, status = ANSWERS[case]

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"what?\r\n\r\n")

    async def story(one: Machine) -> None:
        if endpoint == "broken":
            await raw_server(one, nonsense)
        await ready(one, *ingress(**notes))
        if not endpoint:
            one.tell(make_slice())
        answer = await talk(one, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] == status

    in_memory(story)


@networks
def test_load_balancers_learn_which_nodes_have_pods(run: Callable[[Story], None]) -> None:
    """200 with a ready pod on the node, 503 without; nobody answers where the Service does not ask for it."""
    port = 30800

    async def ask(one: Machine) -> http.Response:
        request = http.Request(method="GET", target="/", headers=[("Host", "lb")])
        async with asyncio.timeout(5):
            return await http.fetch(one.network, NODE_IP, port, request)

    async def story(one: Machine) -> None:
        local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port}
        one.tell(web(**local), make_slice(make_endpoint(POD_A, "n1"), make_endpoint(POD_B, "n2")))
        answer = await until(lambda: ask(one))
        assert answer.status == 200
        assert json.loads(answer.body) == {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": 1,
            "serviceProxyHealthy": True,
        }
        assert answer.header("x-load-balancing-endpoint-weight") == "1"
        one.tell(make_slice(make_endpoint(POD_A, "n1", ready=False), make_endpoint(POD_B, "n2")))
        assert (await ask(one)).status == 503
        one.tell(web(type="LoadBalancer", externalTrafficPolicy="Cluster"))
        await until(lambda: ask(one), wanted=OSError)

    run(story)
