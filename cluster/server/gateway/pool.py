"""Writes that run beside the messages: a bounded pool of workers over keys that are due.

A key is worked on by one worker at a time; marked again meanwhile, it gets another turn with the newest
work. So a burst of reports about one pod costs one write or two, and what is written last is what was
reported last. Workers exist only while something is due. What is urgent (heartbeats, registrations) goes
ahead of everything else: a burst of statuses must not make living nodes look dead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker.supervision import Tasks

Work = Callable[[], Awaitable[None]]


class Pool:
    def __init__(self, tasks: Tasks, *, name: str, workers: int) -> None:
        self._tasks = tasks
        self._name = name
        self._idle = list(range(workers, 0, -1))
        self._urgent: dict[tuple[str, ...], Work] = {}
        self._due: dict[tuple[str, ...], Work] = {}
        self._held: dict[tuple[str, ...], tuple[Work, bool]] = {}
        self._running: set[tuple[str, ...]] = set()

    def mark(self, key: tuple[str, ...], work: Work, *, urgent: bool = False) -> None:
        """Runs `work` soon; replaces work of the same key that has not begun."""
        if key in self._running:
            self._held[key] = (work, urgent)
            return
        (self._urgent if urgent else self._due)[key] = work
        if self._idle:
            number = self._idle.pop()
            self._tasks.start(f"{self._name}-{number}", self._drain(number))

    @property
    def backlog(self) -> int:
        return len(self._urgent) + len(self._due) + len(self._held)

    async def _drain(self, number: int) -> None:
        while lane := self._urgent or self._due:
            key = next(iter(lane))
            work = lane.pop(key)
            self._running.add(key)
            await work()
            self._running.discard(key)
            again = self._held.pop(key, None)
            if again is not None:
                self.mark(key, again[0], urgent=again[1])
        self._idle.append(number)
