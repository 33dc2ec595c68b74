"""The answer that an `ask` waits for: given once, by whoever got the duty, or by the actor's end."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker.actor import ActorStopped, AskTimeout

_IGNORED = "reply ignored: the ask is answered, timed out or given up"


class PendingReply:
    """The answer that one `ask` waits for."""

    __slots__ = ("_address", "_log", "future")

    def __init__(self, address: str, log: FilteringBoundLogger, future: asyncio.Future[Any]) -> None:
        self._address = address
        self._log = log
        self.future = future

    def send(self, value: Any) -> None:
        if self.future.done():
            self._log.debug(_IGNORED, actor=self._address)
        else:
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        if self.future.done():
            self._log.debug(_IGNORED, actor=self._address, error=repr(error))
        else:
            self.future.set_exception(error)

    def give_up(self, why: str) -> None:
        """Fails the ask, unless it is answered."""
        if not self.future.done():
            self.future.set_exception(ActorStopped(why))

    def expire(self, timeout_s: float) -> None:
        if not self.future.done():
            self.future.set_exception(AskTimeout(f"{self._address} did not reply in {timeout_s} s"))


class _NoReply:
    """Where the answer to a `tell` goes."""

    def send(self, value: Any) -> None:
        pass

    def fail(self, error: Exception) -> None:
        pass


NO_REPLY = _NoReply()
