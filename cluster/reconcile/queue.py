"""The work queue of a reconciler: each key at most once in line, never twice in work.

A key added while it is being worked on is remembered and comes back into the line when that work is done,
so bursts of events become one more look. Delays and retries use the event loop's timers: virtual time in
a simulation. Beside each key travels the cause of the newest event that asked for it.

Divergence: client-go's default limiter also holds all retries of a queue together under 10 per second;
here only the per-item exponential back-off applies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from broker.cause import current_cause
from broker.clock import Clock

K = TypeVar("K", bound=Hashable)

RETRY_INITIAL_S = 0.005
RETRY_MAX_S = 1000.0
HANDED_LIMIT = 10_000
"""Keys whose last look is remembered before those beyond their spacing are forgotten."""


class WorkQueue(Generic[K]):
    """Used from one event loop; no method but `get` waits."""

    def __init__(self, clock: Clock, *, spacing_s: float = 0.0) -> None:
        """`spacing_s`: the least time between two looks at one key. A trickle of events about a thousand
        pods of one owner then costs a few looks per second, not one per pod; a first event never waits."""
        self._clock = clock
        self._spacing_s = spacing_s
        self._handed: dict[K, float] = {}
        self._wider: dict[K, float] = {}
        self._line: deque[K] = deque()
        self._dirty: dict[K, str] = {}
        """Keys that need work, with the cause: in line, or in work and to be looked at again."""
        self._processing: dict[K, None] = {}
        self._failures: dict[K, int] = {}
        self._resting: dict[K, asyncio.TimerHandle] = {}
        """Dirty keys that wait for their spacing to pass."""
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self.added = 0
        """Keys that came into the line, since the start."""
        self.retried = 0
        """Keys that were added rate limited, since the start."""

    def __len__(self) -> int:
        return len(self._line)

    @property
    def idle(self) -> bool:
        """Nothing in line and nothing in work (delayed keys aside)."""
        return not self._dirty and not self._processing

    def add(self, key: K, cause: str = "") -> None:
        """Asks for a look at `key`. Without a cause the current one is kept."""
        cause = cause or current_cause()
        if key in self._dirty:
            if cause:
                self._dirty[key] = cause
            return
        self._dirty[key] = cause
        self.added += 1
        if key not in self._processing:
            self._enter(key)

    def add_after(self, key: K, delay_s: float, cause: str = "") -> None:
        """Adds `key` later; of several pending delays for one key the earliest holds."""
        if delay_s <= 0:
            self.add(key, cause)
            return
        due = self._clock.monotonic() + delay_s
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= due:
                return
            pending[1].cancel()
        handle = asyncio.get_running_loop().call_later(delay_s, self._ripe, key, cause or current_cause())
        self._timers[key] = (due, handle)

    def add_rate_limited(self, key: K, cause: str = "") -> None:
        """Adds `key` after its back-off: 5 ms, doubling with each call until `forget`, at most 1000 s."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retried += 1
        delay_s = RETRY_MAX_S if failures > 20 else min(RETRY_INITIAL_S * 2.0**failures, RETRY_MAX_S)
        self.add_after(key, delay_s, cause)

    def space(self, key: K, spacing_s: float) -> None:
        """The least time between two looks at this key from now on, where that is more than the queue's: for
        keys at which a look costs more."""
        if spacing_s > self._spacing_s:
            self._wider[key] = spacing_s
        else:
            self._wider.pop(key, None)

    def forget(self, key: K) -> None:
        """The key's work succeeded: its next failure starts with the smallest delay again."""
        self._failures.pop(key, None)

    def retries(self, key: K) -> int:
        """How often `key` was added rate limited since it was last forgotten."""
        return self._failures.get(key, 0)

    async def get(self) -> tuple[K, str]:
        """The next key and its cause. Every get must be followed by `done(key)`."""
        while not self._line:
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if not getter.cancelled():
                    self._wake_one()
                raise
        key = self._line.popleft()
        self._processing[key] = None
        if self._spacing_s:
            self._note_handed(key)
        return key, self._dirty.pop(key)

    def done(self, key: K) -> None:
        """Work on `key` ended, well or not."""
        del self._processing[key]
        if key in self._dirty:
            self._enter(key)

    def close(self) -> None:
        """Cancels the timers."""
        for _, handle in self._timers.values():
            handle.cancel()
        for handle in self._resting.values():
            handle.cancel()
        self._timers.clear()
        self._resting.clear()

    def _ripe(self, key: K, cause: str) -> None:
        self._timers.pop(key, None)
        self.add(key, cause)

    def _enter(self, key: K) -> None:
        """Into the line, or into the spacing in front of it."""
        if self._spacing_s:
            spacing_s = self._wider.get(key, self._spacing_s)
            rest_s = self._handed.get(key, -spacing_s) + spacing_s - self._clock.monotonic()
            if rest_s > 0:
                self._resting[key] = asyncio.get_running_loop().call_later(rest_s, self._rested, key)
                return
        self._enqueue(key)

    def _rested(self, key: K) -> None:
        del self._resting[key]
        self._enqueue(key)

    def _note_handed(self, key: K) -> None:
        now = self._clock.monotonic()
        if len(self._handed) >= HANDED_LIMIT:
            self._handed = {
                k: at for k, at in self._handed.items() if now - at < self._wider.get(k, self._spacing_s)
            }
        self._handed[key] = now

    def _enqueue(self, key: K) -> None:
        self._line.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
