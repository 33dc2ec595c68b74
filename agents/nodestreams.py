"""The streams that are open on a node: logs, exec, attach, forwarded ports, proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents import serving
from agents.host import Host
from agents.nodemessages import NodeMessage
from agents.nodepods import NodePods
from agents.streams import AgentStream
from broker.actor import Actor
from cluster.api.wire import StreamClose, StreamData, StreamGrant, StreamOpen

MAX_STREAMS = 200


class NodeStreams:
    def __init__(
        self, actor: Actor[NodeMessage], host: Host, pods: NodePods, tell: Callable[[Any], None]
    ) -> None:
        self._actor = actor
        self._host = host
        self._pods = pods
        self._tell = tell
        self._streams: dict[str, AgentStream] = {}
        self._count = 0

    def end(self) -> None:
        """The link is gone."""
        for stream in self._streams.values():
            stream.end()

    def take(self, message: StreamData | StreamGrant | StreamClose) -> None:
        stream = self._streams.get(message.id)
        if stream is not None:
            stream.take(message)
        elif not isinstance(message, StreamClose):
            self._tell(StreamClose(id=message.id, error="no such stream", code=404))

    def open(self, message: StreamOpen) -> None:
        if len(self._streams) >= MAX_STREAMS or message.id in self._streams:
            self._tell(StreamClose(id=message.id, error="too many streams on this node", code=429))
            return
        stream = self._streams[message.id] = AgentStream(message, self._tell)
        self._count += 1
        self._actor.context.run(f"stream/{self._count}", self._serve(message, stream))

    async def _serve(self, message: StreamOpen, stream: AgentStream) -> None:
        view = self._pods.view(message.uid)
        try:
            await serving.serve(message, stream, view, self._host, self._actor.context.clock)
        finally:
            del self._streams[message.id]
