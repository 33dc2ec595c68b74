"""Peers: packets, causes, answers; link rules and the memory broker's faults; all on virtual time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from broker.actor import AskTimeout
from broker.cause import caused_by, current_cause
from broker.chance import Chance
from broker.clock import LoopClock
from broker.message import Envelope, message
from broker.remote import Peer, receive
from broker.rules import LinkRules, Rule, RulesError, Verdict, dump_rules, load_rules, parse_rules
from broker.transport.memory import MemoryBroker, MemoryLink
from broker.virtualtime import run_virtual


@message("test-note")
@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    text: str


def peer(link: MemoryLink, topic: str, name: str = "n1") -> Peer:
    clock = LoopClock(asyncio.get_running_loop())
    return Peer(link, name=name, publish_to=topic, clock=clock, log=structlog.get_logger())


async def linked(party: str, broker: MemoryBroker, rules: LinkRules | None = None) -> MemoryLink:
    link = broker.link(party, rules)
    await link.open()
    return link


def simulate(body: Callable[[MemoryBroker], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await body(MemoryBroker(Chance(3)))

    run_virtual(main())


def test_messages_of_two_milliseconds_share_a_packet_and_keep_their_causes() -> None:
    async def body(broker: MemoryBroker) -> None:
        a, b = await linked("a", broker), await linked("b", broker)
        got: list[tuple[str, str, str]] = []
        receiver = receive(b, "t", lambda _, e: got.append((e.id, e.body.text, current_cause())))
        sender = peer(a, "t")
        with caused_by("r-1"):
            sender.tell(Note(text="one"))
        sender.tell(Note(text="two"))
        await asyncio.sleep(0.01)
        sender.tell(Note(text="three"))
        await asyncio.sleep(0.01)
        assert got == [("n1-1", "one", "r-1"), ("n1-2", "two", "m-n1-2"), ("n1-3", "three", "m-n1-3")]
        assert receiver.packets == 2

    simulate(body)


def test_a_packet_that_is_long_enough_does_not_wait() -> None:
    async def body(broker: MemoryBroker) -> None:
        a, b = await linked("a", broker), await linked("b", broker)
        got: list[Any] = []
        receiver = receive(b, "t", lambda _, e: got.append(e.body))
        sender = peer(a, "t")
        for _ in range(10):
            sender.tell(Note(text="x" * 100_000))
        sender.tell(Note(text="x" * (8 << 20)))
        await asyncio.sleep(0.01)
        assert (len(got), receiver.packets, sender.dropped) == (10, 5, 1)

    simulate(body)


def test_malformed_packets_are_counted_and_the_next_ones_read() -> None:
    async def body(broker: MemoryBroker) -> None:
        a, b = await linked("a", broker), await linked("b", broker)
        got: list[Any] = []
        receiver = receive(b, "t", lambda _, e: got.append(e.body))
        a.publish("t", b"garbage")
        peer(a, "t").tell(Note(text="fine"))
        await asyncio.sleep(0.01)
        assert (got, receiver.malformed) == ([Note(text="fine")], 1)

    simulate(body)


def test_an_ask_is_answered_or_times_out() -> None:
    async def body(broker: MemoryBroker) -> None:
        a, b = await linked("a", broker), await linked("b", broker)
        there, back = peer(a, "there", "a"), peer(b, "back", "b")

        def answer(_: str, envelope: Envelope) -> None:
            if envelope.body.text == "question":
                back.tell(Note(text="answer"), reply_to=envelope.id)

        receive(b, "there", answer)
        receive(a, "back", lambda *_: None, asker=there)
        assert await there.ask(Note(text="question"), timeout_s=1) == Note(text="answer")
        with pytest.raises(AskTimeout):
            await there.ask(Note(text="silence"), timeout_s=1)

    simulate(body)


class TestRules:
    def test_the_first_match_wins(self) -> None:
        rules = LinkRules(
            [
                Rule(verdict=Verdict.DELIVER, topic="kubemu/c/nodes/n1/up"),
                Rule(verdict=Verdict.DROP, sender="n*"),
                Rule(verdict=Verdict.DELAY, delay_s=2.0),
            ]
        )
        chance = Chance(1)
        assert rules.fate("n1", "", "kubemu/c/nodes/n1/up", chance).delays_s == (0.0,)
        assert rules.fate("n1", "", "other", chance).delays_s == ()
        assert rules.fate("x", "", "other", chance).delays_s == (2.0,)

    def test_a_probability_loses_its_part(self) -> None:
        rules, chance = LinkRules([Rule(verdict=Verdict.DROP, probability=0.3)]), Chance(1)
        lost = sum(not rules.fate("a", "b", "t", chance).delays_s for _ in range(10_000))
        assert 2_800 < lost < 3_200

    @pytest.mark.parametrize(("verdict", "ordered"), [(Verdict.DELAY, True), (Verdict.REORDER, False)])
    def test_delay_keeps_the_order_and_reorder_does_not(self, verdict: Verdict, ordered: bool) -> None:
        async def body(broker: MemoryBroker) -> None:
            a = await linked("a", broker, LinkRules([Rule(verdict=verdict, delay_s=1.0, jitter_s=1.0)]))
            b = await linked("b", broker)
            got: list[int] = []
            b.subscribe("t", lambda _, payload: got.append(int(payload)))
            for number in range(100):
                a.publish("t", b"%d" % number)
            await asyncio.sleep(5)
            assert sorted(got) == list(range(100))
            assert (got == list(range(100))) is ordered

        simulate(body)

    def test_survive_a_file(self, tmp_path: Path) -> None:
        rules = [
            Rule(verdict=Verdict.CUT, sender="n1"),
            Rule(verdict=Verdict.DROP, probability=0.5, topic="a/+"),
        ]
        path = tmp_path / "rules.json"
        assert load_rules(path) == []
        path.write_text(dump_rules(rules))
        assert load_rules(path) == rules

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{", "not JSON"),
            ("{}", "expected a list"),
            ("[1]", "rule 1: expected an object"),
            ('[{"verdict": "explode"}]', "rule 1: verdict is one of deliver, drop"),
            ('[{"verdict": "drop", "propability": 1}]', "'propability': 1 is not expected"),
            ('[{"verdict": "drop", "delay_s": -1}]', "'delay_s': -1 is not expected"),
        ],
    )
    def test_errors_say_where_and_what(self, text: str, why: str) -> None:
        with pytest.raises(RulesError, match=why):
            parse_rules(text)


def test_messages_to_one_node_do_not_visit_the_others() -> None:
    """A thousand nodes subscribe; one message is delivered once."""

    async def body(broker: MemoryBroker) -> None:
        got: list[str] = []
        for number in range(1000):
            link = await linked(f"n{number}", broker)
            link.subscribe(f"down/n{number}", lambda topic, _: got.append(topic))
        control = await linked("control", broker)
        control.publish("down/n7", b"")
        await asyncio.sleep(1)
        assert got == ["down/n7"]

    simulate(body)


TRACE = """
import asyncio, json
from broker.actor import Actor
from broker.chance import Chance
from broker.clock import LoopClock
from broker.rules import LinkRules, Rule, Verdict
from broker.system import ActorSystem
from broker.transport.memory import MemoryBroker
from broker.virtualtime import run_virtual
import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
trace = []

class Talker(Actor):
    def __init__(self, link, names):
        self.link, self.names = link, names
    async def started(self):
        await self.link.open()
        self.link.subscribe("all/+", lambda topic, payload: self.context.ref.tell((topic, payload)))
        self.context.after(self.context.chance.random(), "talk", key="talk")
    async def receive(self, message):
        loop = asyncio.get_running_loop()
        trace.append((loop.time(), self.context.ref.address, repr(message)))
        if message == "talk":
            if self.context.chance.random() < 0.1:
                raise ValueError("crash")
            self.link.publish("all/" + self.context.chance.choice(self.names), self.context.chance.uuid().encode())
            self.context.after(self.context.chance.random(), "talk", key="talk")
    async def stopped(self):
        await self.link.close()

async def main():
    clock = LoopClock(asyncio.get_running_loop())
    chance = Chance(SEED)
    broker = MemoryBroker(chance.fork("broker"))
    rules = LinkRules([Rule(verdict=Verdict.DROP, probability=0.1), Rule(verdict=Verdict.REORDER, delay_s=0.1)])
    system = ActorSystem(clock=clock, chance=chance.fork("actors"), log=structlog.get_logger())
    names = [f"n{i}" for i in range(20)]
    for name in names:
        system.spawn(name, lambda name=name: Talker(broker.link(name, rules), names))
    await asyncio.sleep(30)
    await system.stop()

run_virtual(main())
print(len(trace), json.dumps(trace))
"""


def trace_of(seed: int, hash_seed: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", TRACE.replace("SEED", str(seed))]
    root = Path(__file__).parents[2]
    return subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True).stdout


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    """With crashes, restarts, losses and overtaking among 20 actors, for 30 virtual seconds."""
    first = trace_of(7, "1")
    assert int(first.split()[0]) > 1000
    assert json.loads(first.split(maxsplit=1)[1])
    assert trace_of(7, "2") == first
    assert trace_of(8, "1") != first
