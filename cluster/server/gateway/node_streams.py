"""Byte streams between the API server and pods, over the fabric, with windows in both directions.

Each side may send as many bytes as the other has granted. Numbers reveal a lost packet; a gap breaks the
stream, because bytes can't be resynchronised. A stream also breaks when its node goes away or registers
anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from cluster.api.errors import ApiError, BadRequest, InternalError
from cluster.api.objects import Object
from cluster.api.wire import StreamClose, StreamData, StreamGrant, StreamOpen, StreamOpened

WINDOW_BYTES = 1 << 18
PIECE_BYTES = 32 * 1024
"""Longer data is cut, so that one stream does not hold up others in the same packet."""
OPEN_TIMEOUT_S = 10.0

Tell = Callable[[Any], None]


class NodeStream:
    """Implements `cluster.server.streams.Stream`."""

    def __init__(self, identity: str, node: str, tell: Tell, forget: Callable[[str], None]) -> None:
        self.id = identity
        self.node = node
        self._tell = tell
        self._forget = forget
        self._inbox: deque[tuple[int, bytes, bool]] = deque()
        self._wake = asyncio.Event()
        self._granted = asyncio.Event()
        self._credit = 0
        self._sent = 0
        self._received = 0
        self._owed = 0
        self._closed = False
        self._error = ""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def error(self) -> str:
        return self._error

    async def receive(self) -> tuple[int, bytes, bool] | None:
        while not self._inbox:
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        channel, data, eof = self._inbox.popleft()
        self._owed += len(data)
        if self._owed >= WINDOW_BYTES // 2 and not self._closed:
            self._tell(StreamGrant(id=self.id, bytes=self._owed))
            self._owed = 0
        return channel, data, eof

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        view = memoryview(data)
        while True:
            piece = bytes(view[: min(PIECE_BYTES, max(self._credit, 0))])
            if self._closed:
                raise ConnectionError(self._error or "the stream is closed")
            if view and not piece:
                self._granted.clear()
                await self._granted.wait()
                continue
            view = view[len(piece) :]
            self._credit -= len(piece)
            last = not view
            self._tell(
                StreamData(id=self.id, sequence=self._sent, channel=channel, data=piece, eof=eof and last)
            )
            self._sent += 1
            if last:
                return

    async def close(self) -> None:
        if not self._closed:
            self._tell(StreamClose(id=self.id))
            self.end("", 0)

    def on_opened(self, message: StreamOpened) -> None:
        self._credit = message.window
        self._granted.set()
        if not self.opened.done():
            self.opened.set_result(None)

    def on_grant(self, message: StreamGrant) -> None:
        self._credit += message.bytes
        self._granted.set()

    def on_data(self, message: StreamData) -> None:
        if self._closed or message.sequence < self._received:
            return
        if message.sequence > self._received:
            self._tell(StreamClose(id=self.id, error="data was lost on the way"))
            self.end("data was lost on the way", 500)
            return
        self._received += 1
        self._inbox.append((message.channel, message.data, message.eof))
        self._wake.set()

    def end(self, error: str, code: int) -> None:
        """Final. What already came can still be received."""
        if self._closed:
            return
        self._closed = True
        self._error = error
        self._forget(self.id)
        if not self.opened.done():
            self.opened.set_exception(_refusal(error, code))
        self._wake.set()
        self._granted.set()


class NodeStreamTable:
    """The open streams; implements `cluster.server.streams.NodeStreams`."""

    def __init__(self, instance: str, teller: Callable[[str], Tell | None]) -> None:
        """`teller(node)` gives the way to a node that can be reached now, else None."""
        self._instance = instance
        self._teller = teller
        self._count = 0
        self._open: dict[str, NodeStream] = {}

    async def open(self, pod: Object, *, kind: str, container: str, options: dict[str, Any]) -> NodeStream:
        meta, spec = pod["metadata"], pod["spec"]
        node = spec.get("nodeName", "")
        if not node:
            raise BadRequest(f"pod {meta['name']} does not have a host assigned")
        tell = self._teller(node)
        if tell is None:
            raise InternalError(f"error dialing backend: node {node} can't be reached")
        self._count += 1
        stream = NodeStream(f"{self._instance}-{self._count}", node, tell, self._drop)
        self._open[stream.id] = stream
        tell(
            StreamOpen(
                id=stream.id,
                kind=kind,
                uid=meta["uid"],
                container=container,
                options=options,
                window=WINDOW_BYTES,
            )
        )
        try:
            await asyncio.wait_for(stream.opened, OPEN_TIMEOUT_S)
        except TimeoutError:
            await stream.close()
            raise InternalError(f"error dialing backend: no answer from node {node}") from None
        except asyncio.CancelledError:
            await stream.close()
            raise
        return stream

    def take(self, node: str, message: StreamOpened | StreamData | StreamGrant | StreamClose) -> bool:
        """A message from a node; False for a stream that this node does not have."""
        stream = self._open.get(message.id)
        if stream is None or stream.node != node:
            return False
        match message:
            case StreamOpened():
                stream.on_opened(message)
            case StreamData():
                stream.on_data(message)
            case StreamGrant():
                stream.on_grant(message)
            case StreamClose():
                stream.end(message.error, message.code)
        return True

    def lose(self, node: str) -> None:
        """The node went away: breaks its streams."""
        for stream in [s for s in self._open.values() if s.node == node]:
            stream.end(f"the connection to node {node} was lost", 500)

    def close(self) -> None:
        for stream in list(self._open.values()):
            stream.end("the server is shutting down", 503)

    def _drop(self, identity: str) -> None:
        self._open.pop(identity, None)


def _refusal(error: str, code: int) -> ApiError:
    return ApiError.from_status({"message": error or "the stream was closed", "code": code or 500})
