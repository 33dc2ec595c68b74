"""The Protocol of a container runtime, after the kubelet's view of CRI.

A runtime knows containers, not pods' policies: what to start when, and what an exit means, is decided by
the pure machines in `agents.pod` and `agents.container`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cluster.api.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str
    """Completed | Error | OOMKilled | ContainerCannotRun | …"""
    message: str = ""
    signal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    time: datetime
    stream: str
    """stdout | stderr"""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    cpu_cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a container says of itself when it is probed."""

    success: bool
    message: str = ""
    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything a runtime needs to start one instance of a container."""

    pod: Object
    container: Object
    """Its entry of the pod's spec."""
    pod_ip: str
    environment: Mapping[str, str]
    """Resolved: env and envFrom with ConfigMaps, Secrets, field references."""
    restart_count: int
    behaviour: Mapping[str, Any]
    """What the pod's annotation says of this container, valid by `agents.behaviour`: the runtime lays it
    over the profile of the image. Empty for runtimes that need none."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Absolute path → content, from the pod's ConfigMap, Secret and downward API volumes."""


class ImageError(Exception):
    """The image can't be had. `reason` is ErrImagePull | InvalidImageName | ErrImageNeverPull."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    id: str
    """Digest reference: docker.io/library/nginx@sha256:…"""
    size_bytes: int


class Container(Protocol):
    """One running instance."""

    @property
    def id(self) -> str:
        """Like containerd://<64 hex digits>; unique per instance."""

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL when the grace is over. Returns when it is down; `on_exit` was called.
        Called again with a shorter grace it hurries the stop under way."""

    async def execute(self, command: Sequence[str], *, timeout_s: float | None) -> tuple[int, bytes]:
        """Runs a command inside: (exit code, combined output). Raises TimeoutError."""

    def usage(self) -> Usage: ...

    def probe_answer(self, kind: str) -> Answer | None:
        """What a readiness, liveness or startup probe is to be told now, where the behaviour says so;
        None: really ask the container."""

    def behave(self, behaviour: Mapping[str, Any]) -> None:
        """The pod's annotation changed (valid by `agents.behaviour`)."""

    def logs(self) -> Sequence[LogLine]:
        """What is kept of the instance's output, oldest first; bounded, oldest dropped."""

    def follow(self) -> AsyncIterator[LogLine]:
        """New lines from now on, until the instance ends."""


class Runtime(Protocol):
    async def pull(self, image: str, *, pod: Object) -> PulledImage:
        """Gets the image. Raises ImageError. Instant when present."""

    def has_image(self, image: str) -> bool: ...

    def images(self) -> list[Object]:
        """As in Node.status.images."""

    async def start(self, launch: Launch, on_exit: Callable[[Exit], None]) -> Container:
        """Starts an instance. `on_exit` is called exactly once, on the event loop. Raises RuntimeError
        with the reason where the container can't be created or run."""

    def forget(self, uid: str) -> None:
        """The pod is gone: nothing of it needs to be remembered."""

    async def failed(self) -> None:
        """Waits for a bug in the runtime's own work, and raises it; returns when closed."""

    async def close(self) -> None:
        """Drops everything at once, as when the machine dies. `on_exit` is not called any more."""
