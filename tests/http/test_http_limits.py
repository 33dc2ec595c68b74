"""What the server refuses to take on: too many requests at once, too much in one, what it can't keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from live_server import LiveServer

from cluster.api.objects import Key
from cluster.store.journal import JournalFailed

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BUSY = "Too many requests, please try again later."


@pytest.fixture
async def jane(live: LiveServer) -> LiveServer:
    """May do everything, but is no master."""
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    }
    (await live.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body)).expect(201)
    return live


def as_jane() -> dict[str, Any]:
    return {"token": "secret-of-jane"}


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come true")


async def test_reads_beyond_the_limit_are_told_to_come_back(jane: LiveServer) -> None:
    jane.server.in_flight.read_limit = 0
    reply = await jane.get(CONFIG_MAPS, **as_jane())
    status = reply.expect(429)
    assert (status["reason"], status["message"]) == ("TooManyRequests", BUSY)
    assert (reply.headers["Retry-After"], status["details"]["retryAfterSeconds"]) == ("1", 1)
    assert (await jane.get("/apis", **as_jane())).status == 429
    body = {"metadata": {"name": "a"}}
    assert (await jane.call("POST", CONFIG_MAPS, body, **as_jane())).status == 201  # writes count apart


async def test_who_is_not_limited(jane: LiveServer) -> None:
    """Watches and other long-running requests, health checks, and the administrator."""
    jane.server.in_flight.read_limit = jane.server.in_flight.write_limit = 0
    watch = await jane.get(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1", **as_jane())
    assert watch.status == 200
    for path in ("/livez", "/readyz", "/healthz"):
        assert (await jane.get(path, token="")).status == 200
    assert (await jane.get(CONFIG_MAPS)).status == 200
    assert (await jane.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})).status == 201
    assert (await jane.get(f"{CONFIG_MAPS}/a", **as_jane())).status == 429


async def test_strangers_are_limited_before_they_are_judged(live: LiveServer) -> None:
    live.server.in_flight.read_limit = 0
    assert (await live.get(CONFIG_MAPS, token="")).status == 429
    assert (await live.get(CONFIG_MAPS, token="wrong")).status == 401


async def test_a_place_is_free_again_when_its_request_ends(jane: LiveServer) -> None:
    """A write that is still being sent holds its place; so does one that a client gives up, until then."""
    limit = jane.server.in_flight
    limit.write_limit = 1
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"metadata":'
        await sent.wait()
        yield b'{"name":"slow"}}'

    session = jane.session()
    headers = {"Authorization": "Bearer secret-of-jane", "Content-Type": "application/json"}

    async def post() -> int:
        async with session.post(jane.url + CONFIG_MAPS, data=slowly(), headers=headers) as response:
            return response.status

    slow = asyncio.ensure_future(post())
    await until(lambda: limit.writing == 1)
    other = {"metadata": {"name": "quick"}}
    assert (await jane.call("POST", CONFIG_MAPS, other, **as_jane())).status == 429
    sent.set()
    assert await slow == 201
    assert (await jane.call("POST", CONFIG_MAPS, other, **as_jane())).status == 201
    sent.clear()
    given_up = asyncio.ensure_future(post())
    await until(lambda: limit.writing == 1)
    given_up.cancel()
    await until(lambda: limit.writing == 0)


async def test_bodies_up_to_three_mebibytes_are_read(live: LiveServer) -> None:
    """Whether their length is told before or not; what is in them is judged then."""
    half = b'{"metadata":{"name":"a"},"data":{"k":"' + b"x" * (2 * 1024 * 1024) + b'"}}'
    headers = {"Content-Type": "application/json"}
    reply = await live.call("POST", CONFIG_MAPS, data=half, headers=headers)
    assert reply.expect(422)["reason"] == "Invalid"  # a ConfigMap takes no more than one

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 1024 * 1024

    session = live.session(live.pki.admin.certificate, live.pki.admin.key)
    for count, code in ((2, 400), (4, 413)):
        async with session.post(live.url + CONFIG_MAPS, data=pieces(count), headers=headers) as response:
            status = await response.json()
            assert (response.status, status["code"]) == (code, code)


async def test_a_write_that_cannot_be_kept_is_not_acknowledged(live: LiveServer) -> None:
    """500, and from then on no read shows what is not on disk, nor is anything else taken."""
    store = live.plane.store
    (await live.call("POST", CONFIG_MAPS, {"metadata": {"name": "kept"}})).expect(201)

    def broken(batch: Any, on_durable: Any, on_failed: Any) -> None:
        on_failed(JournalFailed("disk I/O error"))

    store._journal.append = broken  # type: ignore[method-assign]
    store._journal.synchronous = False
    for path, body in ((CONFIG_MAPS, {"metadata": {"name": "lost"}}),) * 2:
        status = (await live.call("POST", path, body)).expect(500)
        assert (status["reason"], status["message"]) == (
            "InternalError", "Internal error occurred: disk I/O error",
        )  # fmt: skip
    assert (await live.get(f"{CONFIG_MAPS}/lost")).status == 500
    assert (await live.get(CONFIG_MAPS)).status == 500
    assert (await live.get(f"{CONFIG_MAPS}/kept")).status == 200
    assert (await live.get("/readyz/etcd")).status == 500
    assert store.get("configmaps", Key("default", "lost")) is not None  # in memory only, shown to nobody
    with pytest.raises(JournalFailed):
        await live.plane.failed()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"{}", "expected prefix [107 56 115 0]", id="no magic"),
        pytest.param(b"k8s\x00\x0a\xff\xff\xff\xff\x0f", "unexpected EOF", id="length beyond the end"),
        pytest.param(b"k8s\x00\x0f\x00", "illegal wire type", id="wire type that does not exist"),
    ],
)
async def test_malformed_protobuf_is_a_bad_request(live: LiveServer, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    status = (await live.call("POST", CONFIG_MAPS, data=body, headers=headers)).expect(400)
    assert message in status["message"]
