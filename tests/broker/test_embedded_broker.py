"""nats-server as a child: users that come later, ports, logs; and the log set-up of every process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from broker.cause import caused_by
from broker.chance import Chance
from broker.clock import LoopClock
from broker.credentials import mosquitto_acl, nats_subjects, read_passwords
from broker.embedded import BrokerFailed, EmbeddedBroker
from broker.log import configure
from broker.topics import CONTROL_USER
from broker.transport.link import AccessDenied
from broker.transport.mqtt import MqttTransport
from broker.virtualtime import VirtualTimeLoop


def link(broker: EmbeddedBroker, user: str, password: str) -> MqttTransport:
    return MqttTransport(broker.url, client_id=user, username=user, password=password, chance=Chance(1))


async def test_users_can_be_added_while_it_runs_and_nobody_is_disconnected(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, cluster="c1", passwords={CONTROL_USER: "c"})
    await broker.start()
    control, node = link(broker, CONTROL_USER, "c"), link(broker, "n1", "n")
    states: list[bool] = []
    try:
        await control.open()
        control.on_connection(states.append)
        with pytest.raises(AccessDenied):
            await link(broker, "n1", "n").open()
        broker.set_users({CONTROL_USER: "c", "n1": "n"})
        await open_patiently(broker)
        await node.open()
        assert states == [True]
    finally:
        await node.close()
        await control.close()
        await broker.stop()
    assert not broker.running


async def open_patiently(broker: EmbeddedBroker) -> None:
    """The server reads its users again a moment after the signal."""
    for _ in range(100):
        attempt = link(broker, "n1", "n")
        try:
            await attempt.open()
        except AccessDenied:
            continue
        await attempt.close()
        return
    raise AssertionError("the new user was never accepted")


async def test_a_broker_that_can_not_start_says_why(tmp_path: Path) -> None:
    first = EmbeddedBroker(tmp_path / "one", cluster="c1", passwords={})
    await first.start()
    port = int(first.url.rpartition(":")[2])
    second = EmbeddedBroker(tmp_path / "two", cluster="c1", passwords={CONTROL_USER: 'quote"d'}, port=port)
    try:
        with pytest.raises(BrokerFailed, match="address already in use"):
            await second.start()
        assert not second.running
    finally:
        await first.stop()


def test_the_configuration_is_readable_for_its_owner_only(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, cluster="c1", passwords={"n1": "secret"})
    broker._write_configuration()
    assert (tmp_path / "nats-server.conf").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("pattern", "subjects"),
    [
        ("kubemu/c1/nodes/a.b.c/up", ["kubemu.c1.nodes.a//b//c.up"]),
        ("kubemu/c1/nodes/+/up", ["kubemu.c1.nodes.*.up"]),
        ("kubemu/c1/#", ["kubemu.c1", "kubemu.c1.>"]),
    ],
)
def test_topics_become_subjects(pattern: str, subjects: list[str]) -> None:
    assert nats_subjects(pattern) == subjects


def test_the_access_control_list_names_each_users_own_topics() -> None:
    assert mosquitto_acl("c1").splitlines() == [
        "user control@kubemu",
        "topic readwrite kubemu/c1/#",
        "pattern write kubemu/c1/nodes/%u/up",
        "pattern write kubemu/c1/nodes/%u/presence",
        "pattern read kubemu/c1/nodes/%u/down",
        "pattern read kubemu/c1/control/presence",
        "pattern read kubemu/c1/shared/down",
    ]


def test_a_wrong_credentials_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text('{"n1": "secret"}')
    assert read_passwords(path) == {"n1": "secret"}
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"nodes\.json: expected an object"):
        read_passwords(path)


def test_log_lines_have_time_level_component_event_and_cause() -> None:
    loop, output = VirtualTimeLoop(), io.StringIO()
    try:
        log = configure("agent", json=True, level="info", clock=LoopClock(loop), stream=output)
        log.debug("not shown")
        with caused_by("w-7"):
            log.bind(node="n1").info("ready", pods=3)
    finally:
        loop.close()
    assert json.loads(output.getvalue()) == {
        "time": "2026-01-01T00:00:00.000000Z",
        "level": "info",
        "component": "agent",
        "event": "ready",
        "node": "n1",
        "pods": 3,
        "cause": "w-7",
    }
