"""The byte streams that the API server needs from nodes (logs, exec, attach, port-forward), as Protocols.

Implemented by the node gateway over the fabric; used by the HTTP shell and by `LocalClient.logs`.
"""

from __future__ import annotations

from typing import Any, Protocol

from cluster.api.objects import Object


class Stream(Protocol):
    """One open stream to a pod. Closing is idempotent; after a peer's close `receive` returns None."""

    async def receive(self) -> tuple[int, bytes, bool] | None:
        """The next (channel, data, eof), or None at the end."""

    async def send(self, channel: int, data: bytes, *, eof: bool = False) -> None:
        """Waits while the peer's window is full. Raises ConnectionError when the stream broke."""

    async def close(self) -> None: ...

    @property
    def error(self) -> str:
        """Why the peer closed; empty for a regular end."""


class NodeStreams(Protocol):
    async def open(self, pod: Object, *, kind: str, container: str, options: dict[str, Any]) -> Stream:
        """Opens a stream to the pod's node; kinds and options as in `cluster.api.wire.StreamOpen`.

        Raises an ApiError: BadRequest for a container that is not there or not started yet (Kubernetes'
        wording), InternalError / ServiceUnavailable for a node that can't be reached.
        """
