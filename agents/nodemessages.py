"""What the node actor is told: by its process, by its own timers, and by the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cluster.api.wire import (
    Desired,
    RegisterAgain,
    Registered,
    RestartContainer,
    StatusesStored,
    StreamClose,
    StreamData,
    StreamGrant,
    StreamOpen,
    TokenIssued,
)


@dataclass(frozen=True, slots=True)
class Connected:
    """The link to the broker came up or broke."""

    up: bool


@dataclass(frozen=True, slots=True)
class ControlSeen:
    """The controller manager's presence: its instance, empty when it is away."""

    instance: str


@dataclass(frozen=True, slots=True)
class Beat:
    """Time for a heartbeat."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The machine is about to be switched off: pods end within the grace."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Flush:
    """Time to send what changed."""


@dataclass(frozen=True, slots=True)
class RegisterDue:
    """No answer to the registration yet."""


@dataclass(frozen=True, slots=True)
class AcknowledgeDue:
    """By now more reports should be stored than these."""

    session: str
    sequence: int
    """The last one that was sent."""
    stored: int


@dataclass(frozen=True, slots=True)
class ViewSynced:
    """What all nodes are told alike is known: pods may start."""


NodeMessage: TypeAlias = (
    Connected
    | ControlSeen
    | Beat
    | Flush
    | ShutDown
    | RegisterDue
    | AcknowledgeDue
    | ViewSynced
    | Registered
    | RegisterAgain
    | Desired
    | StatusesStored
    | RestartContainer
    | StreamOpen
    | StreamData
    | StreamGrant
    | StreamClose
    | TokenIssued
)
