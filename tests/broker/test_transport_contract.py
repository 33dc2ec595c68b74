"""The contract of `broker.transport.link`, on every transport and every broker."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import structlog

from broker.chance import Chance
from broker.credentials import write_mosquitto_files
from broker.embedded import EmbeddedBroker
from broker.rules import LinkRules, Rule, Verdict
from broker.supervision import Tasks
from broker.topics import (
    CONTROL_USER,
    all_nodes_presence,
    all_nodes_up,
    control_presence,
    node_down,
    node_presence,
    node_up,
)
from broker.transport.link import AccessDenied, Transport, Will
from broker.transport.memory import MemoryBroker
from broker.transport.mqtt import MqttTransport

CLUSTER = "c1"
LONG_NODE = ".".join(["n" * 63, "o" * 63, "d" * 63, "e" * 61])
NODES = ("node-1", "node-2.rack-7.example.com", LONG_NODE)
PASSWORDS = {CONTROL_USER: "c" * 32, **{node: str(index) * 32 for index, node in enumerate(NODES)}}
MOSQUITTO = "/usr/sbin/mosquitto"


class Bench(Protocol):
    """A broker under test."""

    def link(self, party: str, rules: LinkRules | None = None) -> Transport: ...

    async def vanish(self, party: str) -> None:
        """The party disappears without closing its link."""

    async def crash(self) -> None:
        """The broker is killed."""

    async def restart(self) -> None: ...


class MemoryBench:
    def __init__(self) -> None:
        self.broker = MemoryBroker(Chance(1), keepalive_s=0.2)

    def link(self, party: str, rules: LinkRules | None = None) -> Transport:
        return self.broker.link(party, rules)

    async def vanish(self, party: str) -> None:
        self.broker.kill(party)

    async def crash(self) -> None:
        self.broker.crash()

    async def restart(self) -> None:
        self.broker.restart()


class MqttBench:
    """Shared by both brokers; a party vanishes by its socket being shut."""

    def __init__(self) -> None:
        self.url = ""
        self.links: dict[str, MqttTransport] = {}

    def link(self, party: str, rules: LinkRules | None = None, password: str = "") -> MqttTransport:
        self.links[party] = MqttTransport(
            self.url,
            client_id=party,
            username=party,
            password=password or PASSWORDS[party],
            chance=Chance(1),
            rules=rules,
            # Short where cuts are tested; else a loaded machine must not break the link.
            keepalive_s=15 if rules is None else 1,
            reading_qos=1 if party == CONTROL_USER else 0,  # as the processes do
            log=structlog.get_logger(),
        )
        return self.links[party]

    async def vanish(self, party: str) -> None:
        link = self.links[party]
        link._pull_the_plug()
        await link.close()


class NatsBench(MqttBench):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.broker = EmbeddedBroker(directory / "nats", cluster=CLUSTER, passwords=PASSWORDS)

    async def start(self) -> None:
        await self.broker.start()
        self.url = self.broker.url

    async def crash(self) -> None:
        await self.broker.kill()

    async def restart(self) -> None:
        await self.broker.start()

    async def stop(self) -> None:
        await self.broker.stop()


class MosquittoBench(MqttBench):
    """Runs the configuration that compose uses, with paths and port of this test."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        write_mosquitto_files(self.directory / "users", CLUSTER, PASSWORDS, Chance(1))
        (self.directory / "data").mkdir()
        shipped = Path(__file__).parents[2] / "broker" / "mosquitto.conf"
        text = shipped.read_text().replace("/mosquitto/", f"{self.directory}/")
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        user = "" if os.getuid() else "user root\n"
        (self.directory / "mosquitto.conf").write_text(text + user)
        await self.restart()

    async def crash(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def restart(self) -> None:
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                MOSQUITTO, "-c", str(self.directory / "mosquitto.conf"), stdout=log, stderr=log
            )

    async def stop(self) -> None:
        await self.crash()


@pytest.fixture(
    params=[
        "memory",
        "nats",
        pytest.param(
            "mosquitto",
            marks=[
                pytest.mark.services,
                pytest.mark.skipif(not shutil.which(MOSQUITTO), reason=f"{MOSQUITTO} is not installed"),
            ],
        ),
    ]
)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryBench()
        return
    real = NatsBench(tmp_path) if request.param == "nats" else MosquittoBench(tmp_path)
    await real.start()
    try:
        yield real
    finally:
        for link in real.links.values():
            await link.close()
        await real.stop()


class Inbox:
    """What one subscriber received."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._more = asyncio.Event()

    def __call__(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))
        self._more.set()

    async def expect(self, *wanted: tuple[str, bytes]) -> None:
        await self.until(lambda: all(message in self.messages for message in wanted))

    async def expect_numbers(self, count: int) -> None:
        await self.until(lambda: len(self.messages) >= count, within_s=60)
        assert [int(payload) for _, payload in self.messages] == list(range(count))

    async def until(self, condition: Callable[[], bool], within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self._more.clear()
                await self._more.wait()


async def expect_state(link: Transport, *, connected: bool) -> None:
    event = asyncio.Event()
    link.on_connection(lambda state: event.set() if state is connected else None)
    async with asyncio.timeout(10):
        await event.wait()


async def opened(
    bench: Bench, party: str, *patterns: str, will: Will | None = None, rules: LinkRules | None = None
) -> tuple[Transport, Inbox]:
    link, inbox = bench.link(party, rules), Inbox()
    for pattern in patterns:
        link.subscribe(pattern, inbox)
    await link.open(will=will)
    return link, inbox


@pytest.mark.parametrize("node", NODES, ids=["plain", "dotted", "253 characters"])
async def test_messages_go_up_and_down_on_topics_of_any_node_name(bench: Bench, node: str) -> None:
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER))
    link, inbox = await opened(bench, node, node_down(CLUSTER, node))
    link.publish(node_up(CLUSTER, node), b"up")
    control.publish(node_down(CLUSTER, node), b"down \x00\xff")
    await seen.expect((node_up(CLUSTER, node), b"up"))
    await inbox.expect((node_down(CLUSTER, node), b"down \x00\xff"))
    await link.close()
    await control.close()


async def test_a_burst_arrives_whole_and_in_order(bench: Bench) -> None:
    """5,000 messages each way: more than the window of unacknowledged ones."""
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER))
    link, inbox = await opened(bench, NODES[0], node_down(CLUSTER, NODES[0]))
    for number in range(5000):
        link.publish(node_up(CLUSTER, NODES[0]), b"%d" % number)
        control.publish(node_down(CLUSTER, NODES[0]), b"%d" % number)
    await seen.expect_numbers(5000)
    await inbox.expect_numbers(5000)
    await link.close()
    await control.close()


async def test_what_comes_in_while_a_link_opens_can_be_answered(bench: Bench) -> None:
    """By the first subscription, while others are still being made; 5 rounds, because it is a race."""
    node = NODES[0]
    link, answers = await opened(bench, node, node_down(CLUSTER, node))
    taken = 0
    for number in range(5):
        control = bench.link(CONTROL_USER)

        def answer(_: str, payload: bytes, control: Transport = control) -> None:
            nonlocal taken
            taken += 1
            control.publish(node_down(CLUSTER, node), payload)

        control.subscribe(node_up(CLUSTER, node), answer)
        for other in range(20):
            control.subscribe(node_up(CLUSTER, f"other-{other}"), answer)
        tasks = Tasks()
        opening = tasks.start("opening", control.open())
        while not opening.done():
            link.publish(node_up(CLUSTER, node), b"hello")
            await asyncio.sleep(0)
        await opening
        link.publish(node_up(CLUSTER, node), b"%d" % number)
        await answers.expect((node_down(CLUSTER, node), b"%d" % number))
        await answers.until(lambda: len(answers.messages) == taken)
        await control.close()
    await link.close()


async def test_what_is_queued_is_sent_before_a_clean_close_which_publishes_no_will(bench: Bench) -> None:
    presence = node_presence(CLUSTER, NODES[0])
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER), all_nodes_presence(CLUSTER))
    link, _ = await opened(bench, NODES[0], will=Will(topic=presence, payload=b"gone"))
    for number in range(100):
        link.publish(node_up(CLUSTER, NODES[0]), b"%d" % number)
    await link.close()
    assert not link.connected
    await seen.until(lambda: len(seen.messages) >= 100)
    control.publish(node_presence(CLUSTER, NODES[0]), b"last")
    await seen.expect((presence, b"last"))
    assert (presence, b"gone") not in seen.messages
    await control.close()


async def test_the_will_of_a_vanished_party_is_published_and_retained(bench: Bench) -> None:
    presence = node_presence(CLUSTER, NODES[1])
    control, seen = await opened(bench, CONTROL_USER, all_nodes_presence(CLUSTER))
    link, _ = await opened(bench, NODES[1], will=Will(topic=presence, payload=b"gone"))
    link.publish(presence, b"here", retain=True)
    await seen.expect((presence, b"here"))
    await bench.vanish(NODES[1])
    await seen.expect((presence, b"gone"))
    late = Inbox()
    control.subscribe(f"kubemu/{CLUSTER}/nodes/+/+", late)
    await late.expect((presence, b"gone"))
    await control.close()


async def test_publishing_while_disconnected_is_dropped_and_counted(bench: Bench) -> None:
    link: Any = bench.link(NODES[0])
    link.publish(node_up(CLUSTER, NODES[0]), b"lost")
    assert link.dropped == 1


async def test_links_survive_a_crash_of_the_broker_with_subscriptions_and_retained_messages(
    bench: Bench,
) -> None:
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER))
    link, inbox = await opened(bench, NODES[0], node_down(CLUSTER, NODES[0]))
    states: list[bool] = []
    link.on_connection(states.append)
    await bench.crash()
    await expect_state(link, connected=False)
    await bench.restart()
    await expect_state(link, connected=True)
    await expect_state(control, connected=True)
    link.publish(node_up(CLUSTER, NODES[0]), b"again")
    control.publish(node_down(CLUSTER, NODES[0]), b"again")
    await seen.expect((node_up(CLUSTER, NODES[0]), b"again"))
    await inbox.expect((node_down(CLUSTER, NODES[0]), b"again"))
    assert states == [True, False, True]
    await link.close()
    await control.close()


async def test_opening_waits_for_a_broker_that_is_not_there_yet(bench: Bench) -> None:
    await bench.crash()
    link = bench.link(NODES[0])
    opening = asyncio.ensure_future(link.open())
    await asyncio.sleep(0.1)
    assert not opening.done()
    await bench.restart()
    async with asyncio.timeout(10):
        await opening
    await link.close()


async def test_a_cut_party_hears_nothing_then_loses_its_link_and_comes_back_when_healed(bench: Bench) -> None:
    """The others see its will when the keep-alive has run out."""
    rules = LinkRules()
    node = NODES[0]
    presence = node_presence(CLUSTER, node)
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER), all_nodes_presence(CLUSTER))
    link, inbox = await opened(
        bench, node, node_down(CLUSTER, node), will=Will(topic=presence, payload=b"gone"), rules=rules
    )
    rules.replace([Rule(verdict=Verdict.CUT, sender=node)])
    assert link.connected
    link.publish(node_up(CLUSTER, node), b"cut")
    control.publish(node_down(CLUSTER, node), b"cut")
    await seen.expect((presence, b"gone"))
    await expect_state(link, connected=False)
    rules.replace([])
    await expect_state(link, connected=True)
    link.publish(node_up(CLUSTER, node), b"healed")
    control.publish(node_down(CLUSTER, node), b"healed")
    await seen.expect((node_up(CLUSTER, node), b"healed"))
    await inbox.expect((node_down(CLUSTER, node), b"healed"))
    assert b"cut" not in [payload for _, payload in seen.messages + inbox.messages]
    await link.close()
    await control.close()


async def test_rules_drop_and_duplicate_on_a_live_link(bench: Bench) -> None:
    rules = LinkRules([Rule(verdict=Verdict.DUPLICATE, sender=NODES[0]), Rule(verdict=Verdict.DROP)])
    control, seen = await opened(bench, CONTROL_USER, all_nodes_up(CLUSTER))
    link, inbox = await opened(bench, NODES[0], node_down(CLUSTER, NODES[0]), rules=rules)
    up, down = node_up(CLUSTER, NODES[0]), node_down(CLUSTER, NODES[0])
    control.publish(down, b"dropped")
    link.publish(up, b"twice")
    await seen.until(lambda: seen.messages == [(up, b"twice")] * 2)
    rules.replace([])
    control.publish(down, b"heard")
    await inbox.expect((down, b"heard"))
    assert inbox.messages == [(down, b"heard")]
    await link.close()
    await control.close()


class TestPermissions:
    """Only real brokers have them."""

    @pytest.fixture(autouse=True)
    def _real(self, bench: Any) -> None:
        if not isinstance(bench, MqttBench):
            pytest.skip("the memory broker trusts everybody")

    async def test_wrong_credentials_are_refused(self, bench: MqttBench) -> None:
        with pytest.raises(AccessDenied):
            await bench.link(NODES[0], password="wrong").open()

    async def test_a_node_reaches_its_own_topics_and_no_other(self, bench: MqttBench) -> None:
        mine, other = NODES[0], NODES[1]
        control, seen = await opened(bench, CONTROL_USER, f"kubemu/{CLUSTER}/#")
        link, inbox = await opened(
            bench,
            mine,
            *(node_down(CLUSTER, mine), node_down(CLUSTER, other), node_down(CLUSTER, "+")),
            *(f"kubemu/{CLUSTER}/#", "#", "$MQTT/sub/#", "$SYS/#", control_presence(CLUSTER)),
        )
        forbidden = [
            *(node_up(CLUSTER, other), node_presence(CLUSTER, other), node_down(CLUSTER, other)),
            *(node_down(CLUSTER, mine), control_presence(CLUSTER), node_up("c2", mine)),
        ]
        for topic in forbidden:
            link.publish(topic, b"forged")
        link.publish(node_up(CLUSTER, mine), b"own")
        await seen.expect((node_up(CLUSTER, mine), b"own"))
        control.publish(node_down(CLUSTER, other), b"secret")
        control.publish(control_presence(CLUSTER), b"here", retain=True)
        control.publish(node_down(CLUSTER, mine), b"for you")
        await inbox.expect((control_presence(CLUSTER), b"here"), (node_down(CLUSTER, mine), b"for you"))
        assert b"secret" not in [payload for _, payload in inbox.messages]
        assert b"forged" not in [payload for _, payload in seen.messages]
        assert link.connected
        await link.close()
        await control.close()
