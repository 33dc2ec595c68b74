"""exec and port-forward as clients did before WebSocket: over SPDY/3.1, spoken here byte by byte."""

from __future__ import annotations

import asyncio
import ssl
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import pytest
from live_server import LiveServer
from test_http_streams import PATH, ScriptedNodes, play
from test_http_streams import pod as pod  # the fixture

from cluster.server.http import spdy

FIN = 1


class Client:
    """The client's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._deflate = zlib.compressobj(zdict=spdy._DICTIONARY)
        self._next = 1

    def open(self, **headers: str) -> int:
        stream, self._next = self._next, self._next + 2
        block = struct.pack("!I", len(headers))
        for text in (part for header in headers.items() for part in header):
            block += struct.pack("!I", len(text)) + text.encode()
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack("!IIH", stream, 0, 0) + packed
        self._writer.write(struct.pack("!II", 0x80030001, len(body)) + body)
        return stream

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self._writer.write(spdy.data_frame(stream, data, fin=fin))

    async def read_all(self) -> dict[int, bytes]:
        """What came on each stream, until all that are answered have ended."""
        found: dict[int, bytes] = {}
        ended: set[int] = set()
        while not found or ended != set(found):
            head, length = struct.unpack("!II", await self._reader.readexactly(8))
            body = await self._reader.readexactly(length & 0xFFFFFF)
            if not head & 0x80000000:
                found[head] = found.get(head, b"") + body
                if length >> 24 & FIN:
                    ended.add(head)
        return found


@asynccontextmanager
async def connected(live: LiveServer, target: str, *versions: str) -> AsyncIterator[tuple[str, Client]]:
    """The answer's head, and the connection behind it."""
    url = urlsplit(live.url)
    context = ssl.create_default_context(cafile=str(live.pki.authority.certificate))
    context.load_cert_chain(live.pki.admin.certificate, live.pki.admin.key)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    lines = [f"POST {target} HTTP/1.1", f"Host: {url.netloc}", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
    lines += [f"X-Stream-Protocol-Version: {version}" for version in versions]
    writer.write("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
    try:
        yield (await reader.readuntil(b"\r\n\r\n")).decode(), Client(reader, writer)
    finally:
        writer.close()


async def test_a_command_tells_its_end_on_the_error_stream(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = play(pod, monkeypatch, ScriptedNodes((1, b"out", False), (2, b"err", False)))
    target = f"{PATH}/exec?command=ls&stdout=true&stderr=true"
    async with connected(pod, target, "v4.channel.k8s.io", "v3.channel.k8s.io") as (head, client):
        assert head.startswith("HTTP/1.1 101 ")
        assert "v4.channel.k8s.io" in head
        streams = [client.open(streamtype=kind) for kind in ("error", "stdout", "stderr")]
        found = await asyncio.wait_for(client.read_all(), 10)
    assert [found[stream] for stream in streams[1:]] == [b"out", b"err"]
    assert orjson.loads(found[streams[0]]) == {"metadata": {}, "status": "Success"}
    assert nodes.opened[0]["command"] == ["ls"]


async def test_an_older_version_hears_of_failures_only_as_text(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = orjson.dumps({"status": "Failure", "message": "command terminated"})
    play(pod, monkeypatch, ScriptedNodes((1, b"out", False), (3, failure, False)))
    async with connected(pod, f"{PATH}/exec?command=ls&stdout=true", "v2.channel.k8s.io") as (_, client):
        error, stdout = client.open(streamtype="error"), client.open(streamtype="stdout")
        found = await asyncio.wait_for(client.read_all(), 10)
    assert found == {error: b"command terminated", stdout: b"out"}


async def test_stdin_and_its_end_go_in(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    play(pod, monkeypatch, ScriptedNodes(echo=True))
    target = f"{PATH}/exec?command=cat&stdout=true&stdin=true"
    async with connected(pod, target, "v4.channel.k8s.io") as (_, client):
        stdin = client.open(streamtype="stdin")
        client.write(stdin, b"hello")
        client.open(streamtype="error")
        stdout = client.open(streamtype="stdout")
        client.write(stdin, b"", fin=True)
        found = await asyncio.wait_for(client.read_all(), 10)
    assert found[stdout] == b"hello"


async def test_unknown_versions_are_refused(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    play(pod, monkeypatch, ScriptedNodes())
    target = f"{PATH}/exec?command=ls&stdout=true"
    async with connected(pod, target, "v9.channel.k8s.io") as (head, _):
        assert head.startswith("HTTP/1.1 400 ")


async def test_ports_are_forwarded_over_spdy(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = play(pod, monkeypatch, ScriptedNodes(echo=True))
    headers = {"Content-Type": "application/merge-patch+json"}
    running = b'{"status":{"phase":"Running"}}'
    assert (await pod.call("PATCH", f"{PATH}/status", data=running, headers=headers)).status == 200
    async with connected(pod, f"{PATH}/portforward", "portforward.k8s.io") as (head, client):
        assert "portforward.k8s.io" in head
        client.open(streamtype="error", port="80", requestid="0")
        data = client.open(streamtype="data", port="80", requestid="0")
        client.write(data, b"ping", fin=True)
        found = await asyncio.wait_for(client.read_all(), 10)
    assert found[data] == b"ping"
    assert nodes.opened[0]["port"] == 80
