"""One container's life: waiting, starting, running, stopping, exited, and when it may start again.

The state is that of the container's present instance plus what outlives it: the restart count, the last
termination, two back-offs. As in the kubelet the first restart is immediate; each further one waits twice
as long as the one before, counted from the exit, and an instance that ran long enough starts over.
No I/O; the pod machine asks and tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from agents.runtime import Exit
from cluster.api.objects import Object
from cluster.api.timings import Timings

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When a container began that could not be started, as runtimes tell it."""
CONFIG_RETRY_S = 10.0
"""The kubelet's pace for a pod whose last sync failed."""


class Role(Enum):
    INIT = "init container"
    SIDECAR = "restartable init container"
    MAIN = "container"
    EPHEMERAL = "ephemeral container"
    """Of `kubectl debug`: added to a running pod, started once, of no account for the pod's state."""


_SECTIONS = {Role.MAIN: "containers", Role.EPHEMERAL: "ephemeralContainers"}


class Phase(Enum):
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How one instance ended."""

    exit: Exit
    container_id: str
    image_id: str
    started_at: datetime | None
    finished_at: datetime


@dataclass(slots=True)
class BackOff:
    """A delay that doubles with each attempt and is forgotten after a quiet time."""

    initial_s: float
    max_s: float
    reset_s: float
    delay_s: float = 0.0
    updated: datetime | None = None

    def ready_at(self, since: datetime) -> datetime:
        """When the next attempt may start, counted from `since` (an exit, a failed pull)."""
        if self.updated is None or self._quiet(since):
            return since
        return since + timedelta(seconds=self.delay_s)

    def attempt(self, since: datetime, now: datetime) -> None:
        """Books an attempt made `now`."""
        if self.updated is None or self._quiet(since):
            self.delay_s = self.initial_s
        else:
            self.delay_s = min(self.delay_s * 2, self.max_s)
        self.updated = now

    def _quiet(self, since: datetime) -> bool:
        return self.updated is not None and (since - self.updated).total_seconds() > self.reset_s


class ContainerState:
    """The container's state; the methods are its transitions."""

    __slots__ = (
        "actual", "actuating", "attempt", "backoff", "container_id", "image_backoff", "image_id", "last",
        "name", "phase", "ready", "renewed_at", "restart_count", "restart_wanted", "retry_at", "role", "spec",
        "started", "started_at", "termination", "waiting_message", "waiting_reason",
    )  # fmt: skip

    def __init__(self, spec: Object, role: Role, timings: Timings) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.role = role
        self.phase = Phase.WAITING
        self.attempt = 0
        """Counts launches, the failed ones too; identifies the instance that an input is about."""
        self.renewed_at = 0
        """The last attempt before all containers of the pod were started over."""
        self.restart_count = 0
        self.container_id = ""
        self.image_id = ""
        self.started_at: datetime | None = None
        self.started = False
        self.ready = False
        self.termination: Termination | None = None
        """Of the present instance, while it is the latest word."""
        self.last: Termination | None = None
        """Of the instance before."""
        self.waiting_reason = ""
        self.waiting_message = ""
        self.retry_at: datetime | None = None
        self.restart_wanted = False
        """Whatever the policy says: it was stopped to be started anew."""
        self.actual: Object = {}
        """The resources that the present instance runs with."""
        self.actuating = False
        """They are being changed."""
        self.backoff = BackOff(
            timings.restart_backoff_initial_s, timings.restart_backoff_max_s, timings.restart_backoff_reset_s
        )
        self.image_backoff = BackOff(
            timings.image_backoff_initial_s, timings.image_backoff_max_s, timings.restart_backoff_reset_s
        )

    def field_path(self) -> str:
        """As events name it: spec.containers{web}."""
        return f"spec.{_SECTIONS.get(self.role, 'initContainers')}{{{self.name}}}"

    def has_probe(self, probe: str) -> bool:
        return f"{probe}Probe" in self.spec

    @property
    def up(self) -> bool:
        return self.phase in (Phase.RUNNING, Phase.STOPPING)

    def launch(self, now: datetime) -> None:
        """Begins an attempt. An exited instance becomes the last one once the new one runs."""
        if self.termination is not None:
            self.backoff.attempt(self.termination.finished_at, now)
        self.attempt += 1
        self.phase = Phase.STARTING
        self.retry_at = None
        self.restart_wanted = False
        self.actual, self.actuating = self.spec.get("resources") or {}, False

    def launched(self, container_id: str, image_id: str, now: datetime) -> None:
        self.retire()
        self.phase = Phase.RUNNING
        self.container_id, self.image_id = container_id, image_id
        self.started_at = now
        self.waiting_reason = self.waiting_message = ""
        self.started = not self.has_probe("startup")
        self.ready = self.started and not self.has_probe("readiness")

    def retire(self) -> None:
        """The exited instance makes room for the next one, which counts as a restart."""
        if self.termination is not None:
            self.last, self.termination = self.termination, None
            self.restart_count += 1

    @property
    def begun(self) -> bool:
        """It was launched, since the pod last started over."""
        return self.attempt > self.renewed_at

    def renew(self) -> None:
        """All containers of the pod start over."""
        self.retire()
        self.phase = Phase.WAITING
        self.renewed_at = self.attempt

    def failed_to_launch(self, reason: str, message: str, retry_at: datetime) -> None:
        self.phase = Phase.EXITED if self.termination is not None else Phase.WAITING
        self.waiting_reason, self.waiting_message = reason, message
        self.retry_at = retry_at

    def exited(self, exit: Exit, now: datetime) -> None:
        if self.phase is Phase.STARTING:
            # it could not be run: for the outside this was an instance of its own, which never started
            self.retire()
            self.started_at = NEVER
        self.termination = Termination(
            exit=exit,
            container_id=self.container_id,
            image_id=self.image_id,
            started_at=self.started_at,
            finished_at=now,
        )
        self.phase = Phase.EXITED
        self.started = self.ready = False
        self.waiting_reason = self.waiting_message = ""

    def probed(self, probe: str, success: bool) -> bool:
        """Takes a probe's verdict; True where that changes the container's status."""
        before = (self.started, self.ready)
        if probe == "startup" and success:
            self.started = True
            self.ready = not self.has_probe("readiness")
        elif probe == "readiness":
            self.ready = success and self.started
        return before != (self.started, self.ready)

    def may_restart_at(self) -> datetime:
        """For an exited container that is to run again."""
        assert self.termination is not None
        at = self.backoff.ready_at(self.termination.finished_at)
        return max(at, self.retry_at) if self.retry_at is not None else at


def duration(seconds: float) -> str:
    """As Go prints a time.Duration of whole or fractional seconds: 10s, 1m20s, 5m0s, 500ms."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
