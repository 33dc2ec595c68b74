"""The Protocol of a transport: one party's connection to the broker.

Contract, tested on every implementation by one suite: messages published by one party on one topic
arrive at every connected subscriber in order. Delivery is at-most-once from the application's point of
view (a message published while disconnected is dropped and counted; one in flight when the link breaks
may be lost, or delivered twice): protocols on top must be able to resynchronise. A retained message is
given to later subscribers. The will is published when the party vanishes without closing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MessageHandler = Callable[[str, bytes], None]
"""Called with (topic, payload) on the event loop; must not block, must not raise."""

ConnectionHandler = Callable[[bool], None]
"""Called with True after every (re)connection once all subscriptions stand, with False at a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """A retained message that the broker publishes when its owner disappears."""

    topic: str
    payload: bytes


class AccessDenied(Exception):
    """The broker refused the credentials."""


class Transport(Protocol):
    @property
    def connected(self) -> bool: ...

    async def open(self, *, will: Will | None = None) -> None:
        """Connects, and from then on keeps reconnecting with back-off until closed.

        Returns once connected; keeps trying while the broker can't be reached; raises AccessDenied where
        the broker refuses the credentials at the first connection.
        """

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Queues a message, in order, without blocking. Dropped and counted while disconnected."""

    def subscribe(self, pattern: str, handler: MessageHandler) -> None:
        """Delivers what matches the MQTT topic pattern (`+`, `#`), across reconnections."""

    def on_connection(self, handler: ConnectionHandler) -> None:
        """Reports the link's state from now on; called at once with the present state."""

    async def close(self) -> None:
        """Sends what is queued (for a second at most), disconnects cleanly: no will."""
