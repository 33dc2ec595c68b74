"""A broker in memory, for simulations: same contract as MQTT, on the loop's own (virtual) time.

Every delivery takes a random time within `delay_s`, drawn from the broker's `Chance`; each receiver gets the
messages of one sender in order. Faults come from link rules (`broker.rules`), applied once where both ends
share them. `kill` makes a party vanish as SIGKILL does: its will is published, and nothing more is heard from
it. `crash` and `restart` are for the broker itself; it keeps retained messages, as a broker with a disk does.

Topics without wildcards are looked up, so a message to one node costs the same among ten nodes or thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context

from broker.chance import Chance
from broker.rules import Line, LinkRules, incoming_ends, outgoing_ends
from broker.topics import matches
from broker.transport.link import ConnectionHandler, MessageHandler, Transport, Will
from broker.virtualtime import own_context

RECONNECT_S = (0.05, 0.5)
"""How long a party needs to come back once it can reach the broker."""


class MemoryBroker:
    """Where all links of a simulation meet."""

    def __init__(
        self, chance: Chance, *, delay_s: tuple[float, float] = (0.0002, 0.001), keepalive_s: float = 15.0
    ) -> None:
        self.chance = chance
        self.delay_s = delay_s
        self.keepalive_s = keepalive_s
        self.context = copy_context()
        """What the broker itself does belongs to none of its parties."""
        self.running = True
        self.on_publish: Callable[[str, str, bytes], None] | None = None
        """Sees every packet that reaches the broker: (sender, topic, payload)."""
        self._links: dict[str, MemoryLink] = {}
        self._retained: dict[str, bytes] = {}
        self._exact: dict[str, dict[MemoryLink, None]] = {}
        self._patterns: dict[str, dict[MemoryLink, None]] = {}

    def link(self, party: str, rules: LinkRules | None = None) -> MemoryLink:
        """A connection for this party, not yet open; opening it throws out an older one of the same party."""
        return MemoryLink(self, party, rules if rules is not None else LinkRules())

    def kill(self, party: str) -> None:
        """The party vanishes without closing: its link is dead for good, and its will is published."""
        link = self._links.get(party)
        if link is not None:
            link.die()

    def crash(self) -> None:
        """The broker vanishes: every link breaks, and what was under way is lost."""
        self.running = False
        for link in list(self._links.values()):
            link.break_off()

    def restart(self) -> None:
        self.running = True

    # --- used by links

    def admit(self, link: MemoryLink) -> None:
        older = self._links.get(link.party)
        if older is not None and older is not link:
            older.lose()
        self._links[link.party] = link

    def remove(self, link: MemoryLink) -> None:
        if self._links.get(link.party) is link:
            del self._links[link.party]
        for table in (self._exact, self._patterns):
            for pattern in link.patterns:
                if link in table.get(pattern, ()):
                    del table[pattern][link]
                    if not table[pattern]:
                        del table[pattern]

    def subscribe(self, link: MemoryLink, pattern: str) -> None:
        table = self._patterns if "+" in pattern or "#" in pattern else self._exact
        table.setdefault(pattern, {})[link] = None
        for topic, payload in list(self._retained.items()):
            if matches(pattern, topic):
                link.take(None, topic, payload, pattern)

    def publish(self, sender: MemoryLink | None, topic: str, payload: bytes, retain: bool) -> None:
        if self.on_publish is not None:
            self.on_publish(sender.party if sender is not None else "", topic, payload)
        if retain and payload:
            self._retained[topic] = payload
        elif retain:
            self._retained.pop(topic, None)
        receivers: dict[MemoryLink, None] = dict(self._exact.get(topic, ()))
        for pattern, links in self._patterns.items():
            if matches(pattern, topic):
                receivers.update(links)
        for link in receivers:
            link.take(sender, topic, payload, None)


class MemoryLink:
    """One party's connection. Each sender has a line of its own to it, which keeps that sender's order."""

    def __init__(self, broker: MemoryBroker, party: str, rules: LinkRules) -> None:
        self.party = party
        self.rules = rules
        self.dropped = 0
        self.patterns: dict[str, list[MessageHandler]] = {}
        self._broker = broker
        self._chance = broker.chance.fork(f"link/{party}")
        self._context = own_context()
        self._connected = False
        self._open = False
        self._frozen = False
        self._will: Will | None = None
        self._handlers: list[ConnectionHandler] = []
        self._lines: dict[str, Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] | None = None
        self._unwatch: Callable[[], None] | None = None

    @property
    def connected(self) -> bool:
        return self._connected

    async def open(self, *, will: Will | None = None) -> None:
        if self._open:
            raise RuntimeError(f"the link of {self.party} is already open")
        self._open = True
        self._will = will
        self._unwatch = self.rules.on_change(self._rules_changed)
        self._opened = asyncio.get_running_loop().create_future()
        self._try_to_connect()
        await self._opened

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if not self._connected:
            self.dropped += 1
            return
        self._line("").send(*outgoing_ends(self.party, topic), topic, self, topic, bytes(payload), retain)

    def subscribe(self, pattern: str, handler: MessageHandler) -> None:
        new = pattern not in self.patterns
        self.patterns.setdefault(pattern, []).append(handler)
        if self._connected and new:
            self._broker.subscribe(self, pattern)

    def on_connection(self, handler: ConnectionHandler) -> None:
        self._handlers.append(handler)
        handler(self._connected)

    async def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._stop_timer()
        self._stop_watching()
        self._disconnect()

    # --- deliveries

    def take(self, sender: MemoryLink | None, topic: str, payload: bytes, pattern: str | None) -> None:
        """Brings a message here; `pattern` restricts a retained one to the new subscription."""
        line = self._line(sender.party if sender is not None else "the broker")
        delay_s = self._chance.uniform(*self._broker.delay_s)
        if sender is not None and sender.rules is self.rules:
            line.send_after(delay_s, topic, payload, pattern)  # the rules were applied on the way out
            return
        fate = self.rules.fate(*incoming_ends(self.party, topic), topic, self._chance)
        if not fate.delays_s:
            line.lost += 1
        for extra_s in fate.delays_s:
            line.send_after(delay_s + extra_s, topic, payload, pattern, ordered=fate.ordered)

    def _line(self, sender: str) -> Line:
        """The line on which this sender's messages come; the empty name is the one that leads out."""
        line = self._lines.get(sender)
        if line is None:
            deliver = self._hand_over if sender else self._broker.publish
            context = self._context if sender else self._broker.context
            line = self._lines[sender] = Line(self.rules, self._chance, deliver, context)
        return line

    def _hand_over(self, topic: str, payload: bytes, pattern: str | None) -> None:
        if not self._connected:
            return
        if pattern is not None:
            for handler in self.patterns.get(pattern, ()):
                handler(topic, payload)
            return
        for subscribed, handlers in list(self.patterns.items()):
            if subscribed == topic or matches(subscribed, topic):
                for handler in handlers:
                    handler(topic, payload)

    # --- connecting and breaking

    def _try_to_connect(self) -> None:
        self._timer = None
        if self._connected or not self._open:
            return
        if not self._broker.running or self.rules.cut(self.party):
            self._retry()
            return
        self._broker.admit(self)
        self._connected = True
        for pattern in self.patterns:
            self._broker.subscribe(self, pattern)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
        self._report()

    def _retry(self) -> None:
        self._stop_timer()
        delay_s = self._chance.uniform(*RECONNECT_S)
        context = self._context.copy() if self._context is not None else None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._try_to_connect, context=context)

    def _rules_changed(self) -> None:
        """A cut becomes a disconnection when the keep-alive has run out."""
        if not self._connected:
            return
        self._stop_timer()
        if self.rules.cut(self.party) or self._frozen:
            self._lose_later()

    def freeze(self) -> None:
        """The party no longer runs: messages wait for it until the broker misses its keep-alive."""
        self._frozen = True
        self._rules_changed()

    def thaw(self) -> None:
        self._frozen = False
        self._rules_changed()

    def _lose_later(self) -> None:
        """The keep-alive is the broker's to watch."""
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            self._broker.keepalive_s, self.lose, context=self._broker.context.copy()
        )

    def lose(self) -> None:
        """The connection is gone without a word: the will is published, and the party tries again."""
        self._publish_will()
        self.break_off()

    def break_off(self) -> None:
        self._disconnect()
        if self._open:
            self._retry()

    def die(self) -> None:
        """The party itself is gone."""
        self._open = False
        self._stop_timer()
        self._stop_watching()
        self._handlers.clear()
        self._publish_will()
        self._disconnect()

    def _publish_will(self) -> None:
        if self._connected and self._will is not None:
            self._broker.publish(None, self._will.topic, self._will.payload, True)

    def _disconnect(self) -> None:
        if not self._connected:
            return
        self._connected = False
        self._broker.remove(self)
        for sender, line in self._lines.items():
            if sender or self._open:  # after a clean close, what was sent before still arrives
                self.dropped += line.clear()
        self._report()

    def _report(self) -> None:
        for handler in list(self._handlers):
            handler(self._connected)

    def _stop_watching(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_transport(link: MemoryLink) -> Transport:
    """Lets the type checker compare the two."""
    return link
