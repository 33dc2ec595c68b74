"""What a container printed: the newest lines, and a hand-off to whoever follows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from agents.runtime import LogLine

MAX_LINES = 2000
"""Kept per instance; the oldest go first."""


class ContainerLog:
    __slots__ = ("_followers", "_lines", "_now", "_open", "_partial")

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self._partial: dict[str, str] = {}
        self._followers: list[asyncio.Queue[LogLine | None]] = []
        self._open = True

    def write(self, stream: str, text: str) -> None:
        """Takes output as it comes; a line is one when its end has come."""
        text = self._partial.pop(stream, "") + text
        *lines, rest = text.split("\n")
        for line in lines:
            self._add(stream, line)
        if rest:
            self._partial[stream] = rest

    def _add(self, stream: str, text: str, *, partial: bool = False) -> None:
        line = LogLine(time=self._now(), stream=stream, text=text, partial=partial)
        self._lines.append(line)
        for follower in self._followers:
            follower.put_nowait(line)

    def close(self) -> None:
        for stream, rest in list(self._partial.items()):
            self._add(stream, rest, partial=True)
        self._partial.clear()
        self._open = False
        for follower in self._followers:
            follower.put_nowait(None)

    def bytes(self) -> int:
        return sum(len(line.text) + 1 for line in self._lines)

    def lines(self) -> Sequence[LogLine]:
        return list(self._lines)

    def follow(self) -> AsyncIterator[LogLine]:
        """New lines from now on, until the log closes. The follower's queue grows only as the log does."""
        queue: asyncio.Queue[LogLine | None] = asyncio.Queue()
        if self._open:
            self._followers.append(queue)
        else:
            queue.put_nowait(None)
        return self._tail(queue)

    async def _tail(self, queue: asyncio.Queue[LogLine | None]) -> AsyncIterator[LogLine]:
        try:
            while (line := await queue.get()) is not None:
                yield line
        finally:
            if queue in self._followers:
                self._followers.remove(queue)
