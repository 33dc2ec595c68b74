"""One process' view of what the whole cluster is told alike, shared by all nodes in the process.

One of the nodes' links reads the shared topic; the others would only bring the same again. When that link
breaks, or nothing is heard by it for a while, the next one that is connected takes over, and what may have
been missed is asked for anew. At most `READERS` links are used in turn, since a subscription can't be taken
back: what arrives twice is ignored by its number.

Divergence: a node that is cut off from the broker still learns of Services and endpoints as long as another
node of its process is connected. One process per node shows the partition fully.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

from agents.sharedstate import Name, SharedState
from broker import topics
from broker.chance import Chance
from broker.clock import Clock
from broker.message import Envelope
from broker.remote import receive
from broker.transport.link import Transport
from cluster.api.objects import Object
from cluster.api.timings import Timings
from cluster.api.wire import Shared, SharedMark, SharedSnapshot, SharedWanted, mark_period_s

READERS = 3
RETRY_S = 2.0
RETRY_MAX_S = 30.0
TAKE_OVER_S = 2.0
"""How long the reading link may be down before another one reads."""
SILENT_MARKS = 3.5
"""Marks missed before another link is tried."""

ChangeHandler = Callable[[Sequence[Name]], None]
"""Called with (kind, namespace, name) of what came, changed or went; `ClusterView.lookup` tells which."""


@dataclass(slots=True)
class _Link:
    transport: Transport
    tell: Callable[[Any], None]
    connected: bool = False
    subscribed: bool = False


class ClusterView:
    def __init__(
        self, cluster: str, *, timings: Timings, clock: Clock, chance: Chance, log: FilteringBoundLogger
    ) -> None:
        self._topic = topics.shared_down(cluster)
        self._silence_s = SILENT_MARKS * mark_period_s(timings.heartbeat_s)
        self._clock = clock
        self._chance = chance
        self._log = log
        self._state = SharedState()
        self._links: dict[str, _Link] = {}
        self._reader = ""
        self._handlers: list[ChangeHandler] = []
        self._on_synced: list[Callable[[], None]] = []
        self._heard_at = clock.monotonic()
        self._retry_s = RETRY_S
        self._asked = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- for those who look

    @property
    def synced(self) -> bool:
        """Everything is known, or was once."""
        return self._state.synced

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._state.objects.get((kind, namespace, name))

    def of_kind(self, kind: str) -> Sequence[Object]:
        """Sorted by namespace and name; the same list until something of this kind changes."""
        return self._state.of_kind(kind)

    def on_change(self, handler: ChangeHandler) -> None:
        """Tells of every change from now on; what is known already is told at once."""
        self._handlers.append(handler)
        if self._state.objects:
            handler(list(self._state.objects))

    def forget(self, handler: ChangeHandler) -> None:
        """Ends `on_change`."""
        self._handlers.remove(handler)

    def when_synced(self, call: Callable[[], None]) -> None:
        """Calls once everything is known: at once where it is."""
        if self.synced:
            call()
        else:
            self._on_synced.append(call)

    # --- for the nodes of this process

    def join(self, node: str, transport: Transport, tell: Callable[[Any], None]) -> None:
        """A node's link, not open yet, may be used from now on. `tell` sends a message up by it."""
        link = self._links[node] = _Link(transport, tell)
        if not self._reader:
            self._reader = node
            self._subscribe(link)
        transport.on_connection(lambda up: self._on_connection(node, up))

    def leave(self, node: str) -> None:
        """The node stops; its link may not be used any more."""
        if self._links.pop(node, None) is not None and node == self._reader:
            self._reader = ""
            self._take_over()
        if not self._links:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def take(self, message: SharedSnapshot) -> None:
        """A snapshot that came by a node's own topic."""
        if message.request == self._state.request:
            self._heard_at = self._clock.monotonic()
            self._tell(self._state.snapshot(message))
            self._ask_if_stale()

    # --- the reading link

    def _on_connection(self, node: str, up: bool) -> None:
        link = self._links.get(node)
        if link is None:
            return
        link.connected = up
        if up and node == self._reader:
            self._read()
        elif not self._reading:
            self._after("take over", TAKE_OVER_S, self._take_over)

    @property
    def _reading(self) -> bool:
        link = self._links.get(self._reader)
        return link is not None and link.connected

    def _take_over(self) -> None:
        """Another link reads, where the present one is down."""
        if not self._reading:
            self._read_by_next()

    def _read_by_next(self) -> None:
        subscribed = [node for node, link in self._links.items() if link.subscribed]
        candidates = subscribed if len(subscribed) >= READERS else list(self._links)
        at = candidates.index(self._reader) + 1 if self._reader in candidates else 0
        for node in (*candidates[at:], *candidates[:at]):
            if self._links[node].connected and node != self._reader:
                self._log.info("another link reads what is shared", node=node, before=self._reader)
                self._reader = node
                self._subscribe(self._links[node])
                self._read()
                return

    def _subscribe(self, link: _Link) -> None:
        if not link.subscribed:
            link.subscribed = True
            receive(link.transport, self._topic, self._on_message, log=self._log)

    def _read(self) -> None:
        """The link is up: what was missed is asked for, and silence is watched."""
        self._state.stale = True
        self._heard_at = self._clock.monotonic()
        self._retry_s = RETRY_S
        self._ask()
        self._after("silence", self._silence_s, self._listen)

    def _listen(self) -> None:
        silent_s = self._clock.monotonic() - self._heard_at
        if silent_s >= self._silence_s:
            self._heard_at = self._clock.monotonic()
            self._read_by_next()
            silent_s = 0.0
        self._after("silence", self._silence_s - silent_s + 0.01, self._listen)

    # --- messages

    def _on_message(self, _: str, envelope: Envelope) -> None:
        self._heard_at = self._clock.monotonic()
        match envelope.body:
            case Shared() as message:
                self._tell(self._state.delta(message))
            case SharedMark() as message:
                self._state.mark(message)
            case _:
                self._log.warning("foreign message", topic=self._topic, what=type(envelope.body).__name__)
        self._ask_if_stale()

    def _ask_if_stale(self) -> None:
        if self._state.stale and not self._state.request:
            self._retry_s = RETRY_S
            self._ask()

    def _ask(self) -> None:
        """Asks for everything, and again until it came."""
        link = self._links.get(self._reader)
        if link is None or not link.connected or not self._state.stale:
            return
        self._asked += 1
        request = f"{self._reader}-{self._asked}"
        self._state.ask(request)
        link.tell(SharedWanted(request=request))
        self._after("ask", self._retry_s * self._chance.uniform(0.8, 1.2), self._ask)
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)

    def _tell(self, changed: list[Name]) -> None:
        if not self.synced:
            return
        self._log.debug("shared state", sequence=self._state.sequence, names=changed)
        if changed:
            for handler in list(self._handlers):
                handler(changed)
        waiting, self._on_synced = self._on_synced, []
        for call in waiting:
            call()

    def _after(self, key: str, delay_s: float, call: Callable[[], None]) -> None:
        known = self._timers.get(key)
        if known is not None:
            known.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, call)
