"""Messages to and from another process.

A `Peer` is the `Ref` of somebody behind a topic. What is told to it within `BATCH_S` travels as one packet:
a node's hundred status reports of one moment cost one publish. `receive` is the other end: it opens packets
and hands the messages over, each with its cause current.

Nothing here retries: a lost packet is found by the protocol on top, by its own sequence numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from broker.actor import AskTimeout
from broker.cause import caused_by, current_cause
from broker.clock import Clock
from broker.message import Envelope, MalformedMessage, decode, encode_envelope, join, tag_of
from broker.transport.link import Transport

BATCH_S = 0.002
"""How long a message waits for company."""

MAX_PACKET_BYTES = 256 << 10
"""A packet that has grown this long is sent without waiting."""

MAX_MESSAGE_BYTES = 7 << 20
"""A longer message is dropped and logged: the embedded broker takes 8 MiB."""

EnvelopeHandler = Callable[[str, Envelope], None]
"""Called with (topic, envelope); must not block."""


class Peer:
    """Sends messages to one topic."""

    def __init__(
        self, transport: Transport, *, name: str, publish_to: str, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self.dropped = 0
        self._transport = transport
        self._name = name
        self._topic = publish_to
        self._clock = clock
        self._log = log
        self._number = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asks: dict[str, asyncio.Future[Any]] = {}

    @property
    def address(self) -> str:
        return self._topic

    def tell(self, message: Any, *, reply_to: str = "") -> None:
        self._send(message, reply_to)

    async def ask(self, message: Any, *, timeout_s: float) -> Any:
        """The body of the answer. `answered` must be given what comes back (`receive` does, with `asker`)."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        identity = self._send(message, "")
        self._asks[identity] = future
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise AskTimeout(f"{self._topic} did not answer {tag_of(message)} in {timeout_s} s") from None
        finally:
            del self._asks[identity]

    def answered(self, envelope: Envelope) -> bool:
        """Gives an answer to the `ask` that waits for it; False where none does."""
        future = self._asks.get(envelope.reply_to)
        if future is None or future.done():
            return False
        future.set_result(envelope.body)
        return True

    def flush(self) -> None:
        """Sends what is waiting for company."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        parts, self._parts, self._size = self._parts, [], 0
        if parts:
            self._transport.publish(self._topic, join(parts))

    def _send(self, message: Any, reply_to: str) -> str:
        self._number += 1
        identity = f"{self._name}-{self._number}"
        part = encode_envelope(Envelope(id=identity, cause=current_cause(), reply_to=reply_to, body=message))
        if len(part) > MAX_MESSAGE_BYTES:
            self.dropped += 1
            self._log.error("message too long", to=self._topic, tag=tag_of(message), bytes=len(part))
            return identity
        if self._size + len(part) > MAX_PACKET_BYTES:
            self.flush()
        self._parts.append(part)
        self._size += len(part)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self.flush)
        return identity


class Receiver:
    """What came in through one `receive`, in numbers."""

    def __init__(self, handler: EnvelopeHandler, asker: Peer | None, log: FilteringBoundLogger) -> None:
        self.packets = 0
        self.malformed = 0
        self._handler = handler
        self._asker = asker
        self._log = log

    def packet(self, topic: str, payload: bytes) -> None:
        self.packets += 1
        try:
            envelopes = decode(payload)
        except MalformedMessage as malformed:
            self.malformed += 1
            self._log.warning("malformed message", topic=topic, why=str(malformed), count=self.malformed)
            return
        for envelope in envelopes:
            with caused_by(envelope.cause or f"m-{envelope.id}"):
                if not (envelope.reply_to and self._asker is not None and self._asker.answered(envelope)):
                    self._handler(topic, envelope)


def receive(
    transport: Transport,
    pattern: str,
    handler: EnvelopeHandler,
    *,
    asker: Peer | None = None,
    log: FilteringBoundLogger | None = None,
) -> Receiver:
    """Calls `handler` with every message on the topics of `pattern`, except answers to `asker`'s asks."""
    receiver = Receiver(handler, asker, log if log is not None else structlog.get_logger())
    transport.subscribe(pattern, receiver.packet)
    return receiver
