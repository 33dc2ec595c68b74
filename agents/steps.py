"""The inputs and effects of the pod machine: what happened, and what is to be done about it.

The machine itself (`agents.pod`) does no I/O; the pod actor carries effects out and tells what came of
them with inputs. An input about a container names the attempt it belongs to, so that an answer that comes
late, from an instance that was replaced, is recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agents.runtime import Exit
from cluster.api.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Becomes an Event object."""

    type: str
    reason: str
    message: str
    field_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """Make the sandbox: an address, volumes. Answered by `SandboxReady` or `SandboxFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Pull, configure and start. Answered by `Launched`, `PullFailed`, `ConfigFailed` or `Exited`."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Run the preStop hook, then stop the container. Answered by `Exited`."""

    container: str
    attempt: int
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TearDown:
    """Every container is down for good: release the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """The spec wants other resources: ask the node for them. Answered by `ResizeAnswered`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuate:
    """Change the resources of a running container. Answered by `Actuated`."""

    container: str
    attempt: int


Effect: TypeAlias = Emit | SetUp | Launch | Halt | TearDown | Resize | Actuate


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReady:
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFailed:
    """The sandbox can't be made now; try again in `retry_s`."""

    retry_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    container: str
    attempt: int
    container_id: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullFailed:
    container: str
    attempt: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFailed:
    """Environment or hooks of the container can't be made up."""

    container: str
    attempt: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    container: str
    attempt: int
    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTurned:
    """A probe's verdict changed."""

    container: str
    attempt: int
    probe: str
    """readiness | liveness | startup"""
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartNow:
    """A failed liveness or startup probe is acted upon."""

    container: str
    attempt: int
    probe: str
    grace_s: float | None
    """The probe's own terminationGracePeriodSeconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChanged:
    """An object that the pod refers to changed: what failed for want of it may be tried at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeAnswered:
    """The node's answer to `Resize`. Without a reason it is granted."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuated:
    """The container runs with these resources now; with an error it still has the old ones."""

    container: str
    attempt: int
    resources: Object
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMade:
    """Another pod left the node: a deferred resize may be possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Nothing happened but time."""


Input: TypeAlias = (
    SandboxReady
    | SandboxFailed
    | Launched
    | PullFailed
    | ConfigFailed
    | Exited
    | ProbeTurned
    | RestartNow
    | ConfigChanged
    | ResizeAnswered
    | Actuated
    | RoomMade
    | Look
)
