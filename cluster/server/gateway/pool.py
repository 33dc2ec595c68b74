"""Writes that run beside the messages: a bounded pool of workers over keys that are due.

A key is worked on by one worker at a time; marked again meanwhile, it gets another turn with the newest
work. So a burst of reports about one pod costs one write or two, and what is written last is what was
reported last. Workers exist only while something is due. Heartbeats and registrations go ahead of statuses: a
burst of these must not make living nodes look dead. Events come last: there are several for each status, and
nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum

from broker.supervision import Tasks

Work = Callable[[], Awaitable[None]]
Key = tuple[str, ...]


class Rank(IntEnum):
    """What goes first."""

    LIFE = 0
    STATE = 1
    WORDS = 2


class Pool:
    def __init__(self, tasks: Tasks, *, name: str, workers: int) -> None:
        self._tasks = tasks
        self._name = name
        self._idle = list(range(workers, 0, -1))
        self._lanes: tuple[dict[Key, Work], ...] = tuple({} for _ in Rank)
        self._held: dict[Key, tuple[Work, Rank]] = {}
        self._running: set[Key] = set()

    def mark(self, key: Key, work: Work, rank: Rank) -> None:
        """Runs `work` soon; replaces work of the same key that has not begun."""
        if key in self._running:
            self._held[key] = (work, rank)
            return
        self._lanes[rank][key] = work
        if self._idle:
            number = self._idle.pop()
            self._tasks.start(f"{self._name}-{number}", self._drain(number))

    @property
    def backlog(self) -> int:
        return sum(map(len, self._lanes)) + len(self._held)

    async def _drain(self, number: int) -> None:
        while (lane := next(filter(None, self._lanes), None)) is not None:
            key = next(iter(lane))
            work = lane.pop(key)
            self._running.add(key)
            await work()
            self._running.discard(key)
            again = self._held.pop(key, None)
            if again is not None:
                self.mark(key, *again)
        self._idle.append(number)
