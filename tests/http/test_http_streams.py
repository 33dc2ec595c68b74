"""Logs and commands: the node is played by a stream that answers from a script."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from live_server import LiveServer

from cluster.api import kinds
from cluster.api.objects import Object

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "a", "image": "x"}]},
}
PATH = "/api/v1/namespaces/default/pods/p"


class ScriptedStream:
    """Gives what it was told to; echoes stdin to stdout until the end of stdin."""

    error = ""

    def __init__(self, told: list[tuple[int, bytes, bool]], *, echo: bool) -> None:
        self._queue: asyncio.Queue[tuple[int, bytes, bool] | None] = asyncio.Queue()
        for entry in told:
            self._queue.put_nowait(entry)
        self._echo = echo
        if not echo:
            self._queue.put_nowait(None)
        self.sent: list[tuple[int, bytes, bool]] = []

    async def receive(self) -> tuple[int, bytes, bool] | None:
        return await self._queue.get()

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        self.sent.append((channel, data, eof))
        if self._echo and channel == 0 and data:
            self._queue.put_nowait((1, data, False))
        if eof:
            self._queue.put_nowait(None)

    async def close(self) -> None:
        self._queue.put_nowait(None)


class ScriptedNodes:
    def __init__(self, *told: tuple[int, bytes, bool], echo: bool = False) -> None:
        self._told = told
        self._echo = echo
        self.opened: list[dict[str, Any]] = []

    async def open(
        self, pod: Object, *, kind: str, container: str, options: dict[str, Any]
    ) -> ScriptedStream:
        self.opened.append({"kind": kind, "container": container, **options})
        return ScriptedStream(list(self._told), echo=self._echo)


@pytest.fixture
async def pod(live: LiveServer) -> LiveServer:
    for _ in range(100):
        if live.plane.store.list("serviceaccounts", "default"):
            break
        await asyncio.sleep(0.01)
    await live.create(kinds.PODS, POD)
    return live


def play(live: LiveServer, monkeypatch: pytest.MonkeyPatch, nodes: ScriptedNodes) -> ScriptedNodes:
    monkeypatch.setattr(live.plane.gateway, "open", nodes.open)
    return nodes


async def test_a_log_is_plain_text(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = play(pod, monkeypatch, ScriptedNodes((1, b"one\n", False), (1, b"two\n", False)))
    reply = await pod.get(f"{PATH}/log?tailLines=2&timestamps=true")
    assert reply.text == b"one\ntwo\n"
    assert reply.headers["Content-Type"] == "text/plain"
    assert nodes.opened[0]["container"] == "a"
    assert nodes.opened[0]["tail_lines"] == 2
    assert nodes.opened[0]["timestamps"] is True


@pytest.mark.parametrize(
    ("protocol", "messages"),
    [
        ("", [b"one\n", b"two\n"]),
        ("binary.k8s.io", [b"one\n", b"two\n"]),
        ("base64.binary.k8s.io", ["b25lCg==", "dHdvCg=="]),
    ],
)
async def test_a_log_over_websocket(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch, protocol: str, messages: list[Any]
) -> None:
    play(pod, monkeypatch, ScriptedNodes((1, b"one\n", False), (1, b"two\n", False)))
    session = pod.session(pod.pki.admin.certificate, pod.pki.admin.key)
    async with session.ws_connect(f"{pod.url}{PATH}/log", protocols=[protocol] if protocol else []) as socket:
        assert [message.data async for message in socket] == messages


async def test_wrong_questions_about_logs(pod: LiveServer) -> None:
    status = (await pod.get(f"{PATH}/log?container=b")).expect(400)
    assert status["message"] == "container b is not valid for pod p"
    status = (await pod.get(f"{PATH}/log?tailLines=-1")).expect(422)
    assert "tailLines: Invalid value: -1: must be greater than or equal to 0" in status["message"]
    status = (await pod.get("/api/v1/namespaces/default/pods/q/log")).expect(404)
    assert status["message"] == 'pods "q" not found'


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_command_over_websocket(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    told = ((1, b"out", False), (2, b"err", False))
    nodes = play(pod, monkeypatch, ScriptedNodes(*told))
    session = pod.session(pod.pki.admin.certificate, pod.pki.admin.key)
    url = f"{pod.url}{PATH}/exec?command=ls&command=-l&stdout=true&stderr=true"
    async with session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        messages = [message.data async for message in socket]
    assert messages[:3] == [b"\x01", b"\x01out", b"\x02err"]
    assert messages[3][0] == 3
    assert orjson.loads(messages[3][1:]) == {"metadata": {}, "status": "Success"}
    assert nodes.opened[0]["command"] == ["ls", "-l"]


@pytest.mark.parametrize("protocol", ["channel.k8s.io", ""])
async def test_the_first_version_tells_of_failures_only(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """In plain text; a success is just the end. Who names no version gets this one."""
    failure = orjson.dumps({"status": "Failure", "message": "command terminated"})
    session = pod.session(pod.pki.admin.certificate, pod.pki.admin.key)
    url = f"{pod.url}{PATH}/exec?command=ls&stdout=true"
    for told, last in (((1, b"out", False), b"\x01out"), ((3, failure, False), b"\x03command terminated")):
        play(pod, monkeypatch, ScriptedNodes(told))
        async with session.ws_connect(url, protocols=[protocol] if protocol else []) as socket:
            assert [message.data async for message in socket] == [b"\x01", last]


async def test_the_text_form_of_the_first_version_is_base64(
    pod: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(pod, monkeypatch, ScriptedNodes(echo=True))
    session = pod.session(pod.pki.admin.certificate, pod.pki.admin.key)
    url = f"{pod.url}{PATH}/exec?command=cat&stdout=true&stdin=true"
    async with session.ws_connect(url, protocols=["base64.channel.k8s.io"]) as socket:
        await socket.send_str("0aGVsbG8=")
        assert [(await socket.receive()).data for _ in range(2)] == ["1", "1aGVsbG8="]


async def test_stdin_goes_in_and_its_end_too(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    play(pod, monkeypatch, ScriptedNodes(echo=True))
    code, output = await pod.kubectl("exec", "-i", "p", "--", "cat", stdin="hello")
    assert (code, output) == (0, "hello")


async def test_an_exec_without_upgrade_is_a_bad_request(pod: LiveServer) -> None:
    status = (await pod.get(f"{PATH}/exec?command=ls&stdout=true")).expect(400)
    assert status["message"] == "Upgrade request required"


async def test_ports_are_forwarded(pod: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl listens; each connection to it is a stream to the pod's port, which echoes here."""
    nodes = play(pod, monkeypatch, ScriptedNodes(echo=True))
    headers = {"Content-Type": "application/merge-patch+json"}
    running = b'{"status":{"phase":"Running"}}'
    assert (await pod.call("PATCH", f"{PATH}/status", data=running, headers=headers)).status == 200
    process = await asyncio.create_subprocess_exec(
        "kubectl", "--kubeconfig", str(pod.kubeconfig), "port-forward", "p", ":80",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 10)).decode()
    assert line.startswith("Forwarding from 127.0.0.1:"), line
    port = int(line.split(":")[1].split()[0])
    for text in (b"hello", b"x" * 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        assert await asyncio.wait_for(reader.readexactly(len(text)), 10) == text
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await writer.wait_closed()
    assert [(o["kind"], o["port"]) for o in nodes.opened] == [("portforward", 80), ("portforward", 80)]
    process.terminate()
    await process.communicate()
