"""The one module that reads the clock.

Everything else is handed a `Clock`. Waiting is always done through the event loop (`asyncio.sleep`,
`loop.call_later`), whose own time is virtual in a simulation, so a `Clock` only has to tell the time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SIMULATION_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What the wall clock shows at virtual second zero."""


class Clock(Protocol):
    """Tells the time, never waits."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; the same scale as the running loop's `time()`."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


class LoopClock:
    """A wall clock derived from an event loop's time: virtual where the loop is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: datetime = SIMULATION_EPOCH) -> None:
        self._loop = loop
        self._epoch = epoch

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self._loop.time())
