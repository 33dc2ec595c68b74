"""The agent's side of byte streams: logs, exec, attach, port-forward and proxy.

Each direction has a window that the receiver opens, so a slow reader holds back exactly its own stream.
A stream is one piece of side work of the node actor, which hands incoming messages over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from cluster.api.wire import StreamClose, StreamData, StreamGrant, StreamOpen, StreamOpened

WINDOW_BYTES = 1 << 16
PIECE_BYTES = 32 << 10

Tell = Callable[[Any], None]


class StreamBroken(Exception):
    """The other side closed it, or data was lost."""


class Refused(Exception):
    """The stream can't be opened; becomes the HTTP error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AgentStream:
    """One stream, from the side of the node."""

    def __init__(self, message: StreamOpen, tell: Tell) -> None:
        self.id = message.id
        self._tell = tell
        self._credit = message.window
        self._sent = 0
        self._received = 0
        self._owed = 0
        self._inbox: deque[tuple[int, bytes, bool]] = deque()
        self._moved = asyncio.Event()
        """Something came in, credit was granted, or it broke."""
        self.closed = False
        self._input_ended = False

    def opened(self) -> None:
        self._tell(StreamOpened(id=self.id, window=WINDOW_BYTES))

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        """Waits while the receiver's window is full. Raises StreamBroken."""
        start = 0
        while True:
            if self.closed:
                raise StreamBroken
            room = min(PIECE_BYTES, self._credit, len(data) - start)
            if room <= 0 and start < len(data):
                self._moved.clear()
                await self._moved.wait()
                continue
            piece = data[start : start + room]
            start += len(piece)
            self._credit -= len(piece)
            last = start >= len(data)
            self._tell(
                StreamData(id=self.id, sequence=self._sent, channel=channel, data=piece, eof=eof and last)
            )
            self._sent += 1
            if last:
                return

    async def receive(self) -> tuple[int, bytes, bool] | None:
        """The next (channel, data, eof); None once the other side closed."""
        while not self._inbox:
            if self.closed or self._input_ended:
                return None
            self._moved.clear()
            await self._moved.wait()
        channel, data, eof = self._inbox.popleft()
        self._owed += len(data)
        if self._owed >= WINDOW_BYTES // 2 and not self.closed:
            self._tell(StreamGrant(id=self.id, bytes=self._owed))
            self._owed = 0
        return channel, data, eof

    def end_input(self) -> None:
        """Nothing more is expected from the other side: `receive` returns None."""
        self._input_ended = True
        self._moved.set()

    def close(self, error: str = "", code: int = 0) -> None:
        if not self.closed:
            self._tell(StreamClose(id=self.id, error=error, code=code))
            self.end()

    # --- what comes in

    def take(self, message: StreamData | StreamGrant | StreamClose) -> None:
        match message:
            case StreamGrant():
                self._credit += message.bytes
                self._moved.set()
            case StreamClose():
                self.end()
            case StreamData() if message.sequence == self._received:
                self._received += 1
                self._inbox.append((message.channel, message.data, message.eof))
                self._moved.set()
            case StreamData() if message.sequence > self._received:
                self.close("data was lost on the way", 500)

    def end(self) -> None:
        self.closed = True
        self._moved.set()
