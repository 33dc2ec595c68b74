"""What a small shell's run works on and yields; see `agents.emulated.shell`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

FOREVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    stream: str
    text: str


Step: TypeAlias = Sleep | Write
Run: TypeAlias = Generator[Step, None, int]


class Ended(Exception):
    """`exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class World:
    """What commands see. Shared by all commands of one container instance."""

    environment: dict[str, str]
    hostname: str
    now: Callable[[], datetime]
    files: dict[str, bytes] = field(default_factory=dict)
    directory: str = "/"
    traps: bool = False
    """A script of the container handles SIGTERM."""
