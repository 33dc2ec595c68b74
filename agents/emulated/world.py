"""What a small shell's run works on and yields; see `agents.emulated.shell`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from agents import http
from agents.environment import Place
from agents.files import MemoryFiles
from agents.network import Network

FOREVER_S = 1e9
CPU, MEMORY = "cpu", "memory"


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Needs the outside: whoever drives the run awaits it and sends the result back, or throws OSError."""

    work: Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Spawn:
    """Runs beside the rest (`command &`)."""

    run: Run


Step: TypeAlias = Sleep | Write | Ask | Spawn
Run: TypeAlias = Generator[Step, Any, int]


class Ended(Exception):
    """`exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Leave(Exception):
    """`break`, `continue` and `return`: how many levels up."""

    def __init__(self, kind: str, levels: int) -> None:
        super().__init__(kind)
        self.kind, self.levels = kind, levels


class Interrupted(Exception):
    """Ctrl-C at the terminal."""


class Input:
    """A standard input: bytes, and the way to wait for more. Without a way to wait it has ended."""

    def __init__(
        self, data: bytes = b"", more: Callable[[], Coroutine[Any, Any, bytes]] | None = None
    ) -> None:
        self.data = data
        self._more = more

    @property
    def ended(self) -> bool:
        return self._more is None

    async def fill(self) -> None:
        """Waits for more; afterwards there is more, or it has ended."""
        assert self._more is not None
        data = await self._more()
        if not data:
            self._more = None
        self.data += data


def out(text: str) -> Write:
    return Write("stdout", text.encode(errors="surrogateescape"))


def err(text: str) -> Write:
    return Write("stderr", text.encode(errors="surrogateescape"))


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the container that its node answers for, too."""

    ip: str
    host_port: int
    port: int
    protocol: str


@dataclass(slots=True)
class Load:
    """What is used on top of the profile's figures, each for its time."""

    entries: list[tuple[str, float, datetime]] = field(default_factory=list)

    def add(self, kind: str, amount: float, until: datetime) -> None:
        self.entries.append((kind, amount, until))

    def of(self, kind: str, now: datetime) -> float:
        self.entries = [entry for entry in self.entries if entry[2] > now]
        return sum(amount for found, amount, _ in self.entries if found == kind)


@dataclass(slots=True)
class World:
    """What commands see. Shared by all commands of one container instance."""

    environment: dict[str, str]
    hostname: str
    now: Callable[[], datetime]
    files: MemoryFiles = field(default_factory=MemoryFiles)
    directory: str = "/"
    user: int = 0
    group: int = 0
    groups: Sequence[int] = ()
    memory_limit: int | None = None
    main: str = "sh"
    """The container's own process, as `ps` shows it."""
    network: Network | None = None
    place: Place = field(default_factory=lambda: Place(pod_ip="", host_ip="", allocatable={}))
    resolve: Callable[[str, str], Sequence[str]] = lambda name, type: ()
    """Asks the cluster's DNS for a full name and a type of record."""
    trap: str | None = None
    """What a script of the container does on SIGTERM; None: it handles no such signal."""
    terminal: tuple[int, int] | None = None
    """Columns and rows, where one is attached."""
    signal: Callable[[int], None] | None = None
    """Sends a signal to the container's own process."""
    host_ports: Sequence[HostPort] = ()
    before_answer: Callable[[http.Request], Awaitable[http.Response | None]] | None = None
    """What the profile does to each HTTP answer of a program: it waits, hangs, or answers instead."""
    memory_mounts: Sequence[str] = ()
    """Where volumes of medium Memory are mounted."""
    load: Load = field(default_factory=Load)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Those that the pod asked for."""
    escalates: bool = True
    """Programs may gain privileges."""
    network_admin: bool = False
    """May change links and routes: it is privileged, or has the capability."""


def seen_from(world: World, ip: str) -> str:
    """A pod's own loopback address is its pod address: the machine has one loopback for all."""
    return world.place.pod_ip if ip == "127.0.0.1" and world.place.pod_ip != world.place.host_ip else ip
