"""The Protocol of a container runtime, after the kubelet's view of CRI.

A runtime knows containers, not pods' policies: what to start when, and what an exit means, is decided by
the pure machines in `agents.pod` and `agents.container`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from agents.disk import Disk
from agents.environment import Place
from agents.files import Files
from cluster.api.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str
    """Completed | Error | OOMKilled | StartError | …"""
    message: str = ""
    signal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    time: datetime
    stream: str
    """stdout | stderr"""
    text: str
    partial: bool = False
    """The last one, without a line's end."""

    @property
    def written(self) -> str:
        """With its end."""
        return self.text if self.partial else f"{self.text}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    cpu_cores: float
    memory_bytes: int
    asked: bool = False
    """The memory is measured, or somebody asked for just this figure: it may lead to an eviction."""
    storage_bytes: int = 0
    """What it wrote to the node's disk; 0 where nobody asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a container says of itself when it is probed."""

    success: bool
    message: str = ""
    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A volume, or a part of one, at a place in a container."""

    path: str
    files: Files
    sub_path: str = ""
    read_only: bool = False


class Volumes(Protocol):
    """What a container mounts. Nothing is written before `prepare`: most emulated ones look at no file."""

    async def prepare(self) -> None:
        """Makes the contents. Raises MountProblem."""

    def mounts(self) -> Sequence[Mount]: ...


class NoVolumes:
    """Implements `Volumes`."""

    async def prepare(self) -> None:
        return

    def mounts(self) -> Sequence[Mount]:
        return ()


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
    volumes: Volumes = field(default_factory=NoVolumes)
    place: Place = field(default_factory=lambda: Place(pod_ip="", host_ip="", allocatable={}))
    resolve: Callable[[str, str], Sequence[str]] = lambda name, type: ()
    """The data of the cluster's DNS records of a full name and a type, as the node knows them now."""


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


class ExecProblem(Exception):
    """A command can't be run in the container at all."""


def no_such_program(container_id: str, name: str) -> ExecProblem:
    """As containerd and runc say it. The exec's id is the same each time, so that a probe's event is too."""
    exec_id = hashlib.sha256(f"{container_id} {name}".encode()).hexdigest()
    why = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    problem = f'unable to start container process: exec: "{name}": {why}: unknown'
    return ExecProblem(
        f'failed to exec in container: failed to start exec "{exec_id}": '
        f"OCI runtime exec failed: exec failed: {problem}"
    )


class ResizeProblem(Exception):
    """A running container can't be given these resources."""


def limit_below_usage(limit: int, used: int) -> str:
    return f"attempting to set pod memory limit ({limit}) below current usage ({used})"


class Execution(Protocol):
    """A command running in a container, or the container's own process that somebody attached to."""

    async def write(self, data: bytes) -> None:
        """To its standard input."""

    async def end_input(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None:
        """Of its terminal."""

    async def read(self) -> tuple[str, bytes] | None:
        """The next output: (stdout | stderr, data); None when all was read and it has ended."""

    async def wait(self) -> int:
        """Its exit code."""

    async def kill(self) -> None:
        """Nobody is interested any more. What was only attached to lives on."""


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

    async def begin(self, command: Sequence[str], *, stdin: bool, tty: bool) -> Execution:
        """Starts a command inside. Raises ExecProblem."""

    def attach(self, *, stdin: bool, tty: bool) -> Execution:
        """The container's own process: its output from now on."""

    def usage(self) -> Usage: ...

    def storage_bytes(self) -> int:
        """What its own files (not those in volumes) and its output take on the node's disk."""

    async def resize(self, resources: Object) -> None:
        """Gives it other requests and limits while it runs. Raises ResizeProblem; it keeps the old ones."""

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
    def choose(self, pod: Object, handler: str) -> bool:
        """The handler that the pod's RuntimeClass names, empty without one, before anything else is asked for
        the pod. False: no such handler is configured here."""

    def disk(self, pod: Object) -> Disk:
        """Where the pod's volumes are."""

    def runs_as_root(self, image: str, pod: Object) -> bool:
        """Whether a container of the image is root's where the pod names no user."""

    def needs_files(self, launch: Launch) -> bool:
        """Whether the container looks at its volumes from its start on; else they are prepared later."""

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
