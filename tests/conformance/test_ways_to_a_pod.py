"""Proxies and forwarded ports as far as they can be tried without a node, and the metrics API."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conforming import Namespace
from live_server import LiveServer

from cluster.api.errors import BadRequest
from cluster.server.http.proxying import split_name

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Echo:
    """Plays the node: answers every HTTP request with its own request line, and ends."""

    error = ""

    def __init__(self) -> None:
        self._heard = b""
        self._said = False

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        self._heard += data

    async def receive(self) -> tuple[int, bytes, bool] | None:
        if self._said:
            return None
        self._said = True
        body = self._heard.split(b"\r\n")[0]
        return 1, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), False

    async def close(self) -> None: ...


@pytest.fixture
def opened(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of the nodes."""
    asked: list[dict[str, Any]] = []

    async def open_stream(pod: Any, *, kind: str, container: str, options: dict[str, Any]) -> Echo:
        asked.append({"pod": pod["metadata"]["name"], "kind": kind, **options})
        return Echo()

    monkeypatch.setattr(live.plane.gateway, "open", open_stream)
    return asked


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("p", ("", "p", "")),
        ("p:80", ("", "p", "80")),
        ("http:p:web", ("http", "p", "web")),
        (":p:1", ("", "p", "1")),
    ],
)
async def test_names_carry_a_scheme_and_a_port(name: str, parts: tuple[str, str, str]) -> None:
    assert split_name(name) == parts


async def test_a_name_that_is_none(space: Namespace) -> None:
    with pytest.raises(BadRequest):
        split_name("ftp:p:1")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_reaches_the_pod(
    live: LiveServer, space: Namespace, opened: list[dict[str, Any]], method: str
) -> None:
    """Proxy … should support pod and service proxy subresources; the path and the query come through."""
    spec = {
        "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 8080}]}],
        "schedulerName": "no",
    }
    await space.create("api/v1", "pods", {"metadata": {"name": "p"}, "spec": spec})
    path = space.path("api/v1", "pods", "p", "proxy")
    reply = await live.call(method, f"{path}/some/where?a=b")
    assert (reply.status, reply.text) == (200, f"{method} /some/where?a=b HTTP/1.1".encode())
    session = live.session(live.pki.admin.certificate, live.pki.admin.key)
    async with session.request(method, f"{live.url}{path}?a=b", allow_redirects=False) as answer:
        if method == "GET":
            assert (answer.status, answer.headers["Location"]) == (301, f"{path}/?a=b")
        else:
            assert await answer.text() == f"{method} /?a=b HTTP/1.1"
    times = 1 if method == "GET" else 2
    assert opened == [{"pod": "p", "kind": "proxy", "port": 8080}] * times


class Wire:
    """Plays the node: a stream that is a connection to a server of this test."""

    error = ""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        self._writer.write(data)

    async def receive(self) -> tuple[int, bytes, bool] | None:
        data = await self._reader.read(65536)
        return (1, data, False) if data else None

    async def close(self) -> None:
        self._writer.close()


@pytest.fixture
def wired(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of every pod is that port of this machine."""

    async def open_stream(pod: Any, *, kind: str, container: str, options: dict[str, Any]) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", options["port"]))

    monkeypatch.setattr(live.plane.gateway, "open", open_stream)


async def make_pod(space: Namespace, name: str = "p") -> None:
    spec = {"containers": [{"name": "c", "image": "x"}], "schedulerName": "no"}
    await space.create("api/v1", "pods", {"metadata": {"name": name}, "spec": spec})


async def test_a_pod_that_speaks_tls(live: LiveServer, space: Namespace, wired: None) -> None:
    """Proxy … https:name:port; whoever signed the pod's certificate. The API itself plays the pod."""
    await make_pod(space)
    port = live.url.rpartition(":")[2]
    reply = await live.get(space.path("api/v1", "pods", f"https:p:{port}", "proxy") + "/version")
    assert reply.status in (200, 401, 403)
    assert b"kind" in reply.text or b"major" in reply.text


async def test_pages_and_web_sockets(live: LiveServer, space: Namespace, wired: None) -> None:
    """Proxy … should proxy through a service and a pod: links lead back through the proxy."""

    async def page(request: web.Request) -> web.Response:
        text = '<a href="/rewriteme">test</a> <img src=\'x.png\'><p title="/no"><a href="http://other/x">'
        return web.Response(text=text, content_type="text/html")

    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/there/?a=b"})

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}{message.data}")
        return socket

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/moved", moved), web.get("/ws", echo)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    await make_pod(space)
    prefix = space.path("api/v1", "pods", f"p:{port}", "proxy")
    reply = await live.get(f"{prefix}/")
    wanted = (
        f'<a href="{prefix}/rewriteme">test</a> <img src=\'x.png\'><p title="/no"><a href="http://other/x">'
    )
    assert reply.text.decode() == wanted
    session = live.session(live.pki.admin.certificate, live.pki.admin.key)
    async with session.get(f"{live.url}{prefix}/moved", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"{prefix}/there/?a=b")
    async with session.ws_connect(f"{live.url}{prefix}/ws") as socket:
        for text in ("ab", "c"):
            await socket.send_str(text)
            assert await socket.receive_str() == text * 2
    await runner.cleanup()


async def test_a_service_without_endpoints(live: LiveServer, space: Namespace) -> None:
    await space.create("api/v1", "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    body = {"metadata": {"name": "s"}, "subsets": []}
    await space.create("api/v1", "endpoints", body)
    reply = await live.get(space.path("api/v1", "services", "s:80", "proxy") + "/")
    assert reply.expect(503)["message"] == 'no endpoints available for service "s"'
    reply = await live.get(space.path("api/v1", "services", "s:81", "proxy") + "/")
    assert reply.expect(503)["message"] == 'no service port 81 found for service "s"'


async def test_ports_are_forwarded_over_channels(
    live: LiveServer, space: Namespace, opened: list[dict[str, Any]]
) -> None:
    """v4.channel.k8s.io: the port number on both channels, then bytes."""
    spec = {"containers": [{"name": "c", "image": "x"}], "schedulerName": "no"}
    await space.create("api/v1", "pods", {"metadata": {"name": "p"}, "spec": spec})
    url = live.url + space.path("api/v1", "pods", "p", "portforward") + "?ports=80"
    session = live.session(live.pki.admin.certificate, live.pki.admin.key)
    async with session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        assert await socket.receive_bytes() == b"\x00\x50\x00"
        assert await socket.receive_bytes() == b"\x01\x50\x00"
        await socket.send_bytes(b"\x00GET / HTTP/1.1\r\n\r\n")
        assert (await socket.receive_bytes()).startswith(b"\x00HTTP/1.1 200 OK")
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert opened == [{"pod": "p", "kind": "portforward", "port": 80}]


async def test_metrics_of_what_nodes_told(
    live: LiveServer, space: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """metrics.k8s.io: a pod's containers with their usage, by namespace and by label."""
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "n1"}
    body = {"metadata": {"name": "p", "labels": {"app": "a"}}, "spec": spec}
    made = await space.create("api/v1", "pods", body)
    usage = {"c": {"cpu": 0.25, "memory": 3 << 20}}
    told = {"at": live.plane.world.clock.now(), "node": {"cpu": 1.0, "memory": 1 << 30}}
    monkeypatch.setitem(live.plane.gateway._usage, "n1", {**told, "pods": {made["metadata"]["uid"]: usage}})
    path = space.path("apis/metrics.k8s.io/v1beta1", "pods")
    listed = (await live.get(f"{path}?labelSelector=app%3Da")).expect(200)
    assert listed["kind"] == "PodMetricsList"
    assert listed["items"][0]["containers"] == [{"name": "c", "usage": {"cpu": "250m", "memory": "3Mi"}}]
    assert (await live.get(f"{path}?labelSelector=app%3Db")).expect(200)["items"] == []
    assert (await live.get(f"{path}/p")).expect(200)["window"] == "5s"
    assert (await live.get(f"{path}/none")).status == 404
    await live.call("DELETE", space.path("api/v1", "pods", "p"), {"gracePeriodSeconds": 0})
