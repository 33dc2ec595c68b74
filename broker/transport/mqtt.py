"""The transport of real processes: MQTT 3.1.1, everything published with QoS 1, through aiomqtt.

Each connection is a clean session with a new client: after a loss nothing of the old one comes back, which
is what the contract says (resynchronise) and leaves no state at the broker for a node that is gone.

aiomqtt waits for the acknowledgement of every publish in turn, and gives out received messages through a
task each: that is a few hundred messages a second. So publishing and receiving go to the client beneath it
(paho), which queues without waiting; aiomqtt keeps what it is good at, the connection on an event loop. At
most `WINDOW` messages are unacknowledged; more wait in the outbox, which drops its oldest when it is full.

Errors that a handler lets through reach the event loop's exception handler; the link goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import structlog
from structlog.typing import FilteringBoundLogger

from broker.chance import Chance
from broker.lean import without
from broker.rules import Line, LinkRules, incoming_ends, outgoing_ends
from broker.supervision import Tasks
from broker.topics import matches
from broker.transport.link import AccessDenied, ConnectionHandler, MessageHandler, Transport, Will
from broker.transport.writing import SocketWriter

with without("dns.resolver"):  # paho can find brokers by SRV records
    import aiomqtt
    import paho.mqtt.client as paho
    from aiomqtt.exceptions import MqttConnectError

WINDOW = 2_000
"""Messages on their way without acknowledgement; MQTT numbers them with 16 bits."""

OUTBOX = 20_000
"""Messages waiting for the window; beyond, the oldest is dropped."""

CLOSE_S = 1.0
"""How long a closing link may take to send what is queued."""

_LOOK_S = 0.005

CONNECT_S = 5.0
BACKOFF_INITIAL_S = 0.05
BACKOFF_MAX_S = 5.0

_UNAVAILABLE = (3, 136)
"""The CONNACK code, in MQTT 3.1.1 and in 5, that says nothing against the credentials."""

_NOT_FOR_CLIENT_IDS = re.compile(r"[^0-9A-Za-z-]")


class MqttTransport:
    """One party's connection to an MQTT broker."""

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        username: str = "",
        password: str = "",
        chance: Chance,
        rules: LinkRules | None = None,
        keepalive_s: int = 15,
        reading_qos: int = 1,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """`username` is the party's name in link rules; without one it is the client id.

        `reading_qos` 0: the broker keeps nothing for this party, which acknowledges nothing. That is right
        for parties of which there are many: nats-server has a queue for each subscription with QoS 1, and
        asks all of them about every message. Promises are the same, because sessions are clean."""
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise ValueError(f"broker address {url!r} is not like mqtt://HOST:PORT")
        self.dropped = 0
        self._host = parts.hostname
        self._port = parts.port or 1883
        # nats-server refuses ids with dots; node names have dots, but no underscores.
        self._client_id = _NOT_FOR_CLIENT_IDS.sub("_", client_id)
        self._username = username
        self._password = password
        self._party = username or client_id
        self._chance = chance
        self._rules = rules if rules is not None else LinkRules()
        self._keepalive_s = keepalive_s
        self._reading_qos = reading_qos
        self._log = log if log is not None else structlog.get_logger()
        self._tasks = Tasks()
        self._will: Will | None = None
        self._paho: paho.Client | None = None
        self._client: aiomqtt.Client | None = None
        self._patterns: dict[str, list[MessageHandler]] = {}
        self._exact: dict[str, tuple[MessageHandler, ...]] = {}
        self._handlers: list[ConnectionHandler] = []
        self._outbox: deque[tuple[str, bytes, bool]] = deque()
        self._unacknowledged = 0
        self._outgoing = Line(self._rules, chance, self._send)
        self._incoming = Line(self._rules, chance, self._hand_over)
        self._uncut = asyncio.Event()
        self._unwatch: Callable[[], None] | None = None
        self._cut_timer: asyncio.TimerHandle | None = None
        self._first: asyncio.Future[None] | None = None

    # --- the Transport

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def open(self, *, will: Will | None = None) -> None:
        if self._first is not None:
            raise RuntimeError(f"the link of {self._party} is already open")
        self._will = will
        self._unwatch = self._rules.on_change(self._rules_changed)
        self._first = asyncio.get_running_loop().create_future()
        self._tasks.start(f"mqtt {self._client_id}", self._stay_connected(self._first))
        try:
            await self._first
        except BaseException:
            await self.close()
            raise

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self._paho is None:
            self.dropped += 1
        else:
            self._outgoing.send(*outgoing_ends(self._party, topic), topic, topic, payload, retain)

    def subscribe(self, pattern: str, handler: MessageHandler) -> None:
        new = pattern not in self._patterns
        self._patterns.setdefault(pattern, []).append(handler)
        self._exact.clear()
        if new and self._client is not None:
            self._tasks.start(f"subscribe {pattern}", self._subscribe_now(self._client, pattern))

    def on_connection(self, handler: ConnectionHandler) -> None:
        self._handlers.append(handler)
        handler(self.connected)

    async def close(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        await self._drain()
        await self._tasks.close()

    # --- publishing

    def _send(self, topic: str, payload: bytes, retain: bool) -> None:
        if self._paho is None:
            self.dropped += 1
        elif self._unacknowledged < WINDOW and not self._outbox:
            self._hand_to_paho(self._paho, topic, payload, retain)
        else:
            if len(self._outbox) >= OUTBOX:
                self._outbox.popleft()
                self._count_drop()
            self._outbox.append((topic, payload, retain))

    def _count_drop(self) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # the 1st, 2nd, 4th, …: a flood must not flood the log
            self._log.warning("outbox full, the oldest message is dropped", dropped=self.dropped)

    def _hand_to_paho(self, client: paho.Client, topic: str, payload: bytes, retain: bool) -> None:
        self._unacknowledged += 1
        client.publish(topic, payload, qos=1, retain=retain)

    def _acknowledged(self, *_: Any) -> None:
        self._unacknowledged -= 1
        if self._outbox and self._paho is not None:
            self._hand_to_paho(self._paho, *self._outbox.popleft())

    async def _drain(self) -> None:
        """Waits until everything is acknowledged: acknowledgements left unread would make the kernel reset
        the connection when it is closed, and the goodbye might never be read."""
        for _ in range(int(CLOSE_S / _LOOK_S)):
            if self._paho is None or not (self._outbox or self._unacknowledged):
                return
            await asyncio.sleep(_LOOK_S)

    # --- receiving

    def _received(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        topic = message.topic
        self._incoming.send(*incoming_ends(self._party, topic), topic, topic, message.payload)

    def _hand_over(self, topic: str, payload: bytes) -> None:
        loop = asyncio.get_running_loop()
        for handler in self._handlers_of(topic):
            loop.call_soon(handler, topic, payload)

    def _handlers_of(self, topic: str) -> tuple[MessageHandler, ...]:
        """Remembered per topic: as many as there are nodes."""
        found = self._exact.get(topic)
        if found is None:
            found = tuple(
                handler
                for pattern, handlers in self._patterns.items()
                if matches(pattern, topic)
                for handler in handlers
            )
            self._exact[topic] = found
        return found

    # --- the connection

    async def _stay_connected(self, first: asyncio.Future[None]) -> None:
        attempt = 0
        while True:
            try:
                await self._connection(first)
                attempt = 0
            except MqttConnectError as error:
                denied = _reason_number(error.rc) not in _UNAVAILABLE
                if denied and not first.done():
                    first.set_exception(AccessDenied(f"{self._party} at {self._host}:{self._port}: {error}"))
                    return
                self._log.warning("broker refuses the connection", why=str(error))
            except aiomqtt.MqttError as error:
                if attempt == 0:
                    self._log.warning(
                        "broker can't be reached", host=self._host, port=self._port, why=str(error)
                    )
            await self._back_off(attempt)
            attempt += 1

    async def _back_off(self, attempt: int) -> None:
        ceiling_s = min(BACKOFF_INITIAL_S * 2 ** min(attempt, 16), BACKOFF_MAX_S)
        await asyncio.sleep(self._chance.uniform(ceiling_s / 2, ceiling_s))
        while self._rules.cut(self._party):
            self._uncut.clear()
            await self._uncut.wait()

    async def _connection(self, first: asyncio.Future[None]) -> None:
        """One connection from its beginning to its loss. Raises MqttError if it could not be made."""
        client = self._new_client()
        async with client:
            client._client.on_message = self._received
            client._client.on_publish = self._acknowledged
            # The client beneath: aiomqtt offers no way to publish without waiting for each acknowledgement.
            # Messages come in, and may be answered, before all subscriptions stand.
            self._paho = client._client
            self._unacknowledged = 0
            try:
                if self._patterns:
                    codes = await client.subscribe([(p, self._reading_qos) for p in self._patterns])
                    self._check_subscriptions(list(self._patterns), codes)
                self._begin(client, first)
                await self._until_lost(client)
            finally:
                self._end()

    async def _until_lost(self, client: aiomqtt.Client) -> None:
        try:
            async for _ in client.messages:  # never gives one: it only ends when the connection does
                pass
        except aiomqtt.MqttError as error:
            self._log.info("broker connection lost", why=str(error))

    def _new_client(self) -> aiomqtt.Client:
        will = self._will
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._username or None,
            password=self._password or None,
            identifier=self._client_id,
            clean_session=True,
            timeout=CONNECT_S,
            keepalive=self._keepalive_s,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            max_inflight_messages=WINDOW + 1,
            max_queued_outgoing_messages=0,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            logger=_quiet,
        )
        client._client.connect_timeout = CONNECT_S
        SocketWriter(client._client, asyncio.get_running_loop())
        return client

    def _begin(self, client: aiomqtt.Client, first: asyncio.Future[None]) -> None:
        self._client = client
        if not first.done():
            first.set_result(None)
        self._report()

    def _end(self) -> None:
        self.dropped += len(self._outbox) + self._outgoing.clear()
        self._incoming.clear()
        self._outbox.clear()
        self._paho = None
        if self._client is not None:
            self._client = None
            self._report()

    def _report(self) -> None:
        for handler in list(self._handlers):
            handler(self.connected)

    async def _subscribe_now(self, client: aiomqtt.Client, pattern: str) -> None:
        try:
            self._check_subscriptions([pattern], await client.subscribe(pattern, qos=self._reading_qos))
        except aiomqtt.MqttError as error:
            self._log.info("subscription waits for the next connection", pattern=pattern, why=str(error))

    def _check_subscriptions(self, patterns: list[str], codes: Any) -> None:
        for pattern, code in zip(patterns, codes, strict=False):
            if _reason_number(code) >= 0x80:
                self._log.error("broker refuses the subscription", pattern=pattern)

    # --- cuts

    def _rules_changed(self) -> None:
        if self._cut_timer is not None:
            self._cut_timer.cancel()
            self._cut_timer = None
        if self._rules.cut(self._party):
            loop = asyncio.get_running_loop()
            self._cut_timer = loop.call_later(self._keepalive_s, self._pull_the_plug)
        else:
            self._uncut.set()

    def _pull_the_plug(self) -> None:
        """Breaks the connection without a goodbye, so that the broker publishes the will."""
        plug = self._paho.socket() if self._paho is not None else None
        if isinstance(plug, socket.socket):
            plug.shutdown(socket.SHUT_RDWR)


_quiet = logging.getLogger("broker.transport.mqtt")
_quiet.setLevel(logging.CRITICAL)


def _reason_number(code: Any) -> int:
    """aiomqtt gives numbers in some places and paho's ReasonCode in others."""
    return code if isinstance(code, int) else int(code.value)


def _is_transport(link: MqttTransport) -> Transport:
    """Lets the type checker compare the two."""
    return link
