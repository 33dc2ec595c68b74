"""A probe's bookkeeping: from single results to verdicts, as the kubelet's prober workers count them.

A verdict turns only after `failureThreshold` failures or `successThreshold` successes in a row. A startup
probe holds the others back until it succeeded; a failed liveness or startup probe stops asking until its
container was restarted. No I/O: `agents.prober` asks, `agents.podactor` keeps the timers.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.api.objects import Object

KINDS = ("startup", "liveness", "readiness")
WORD = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one probe found."""

    success: bool
    output: str = ""
    errored: bool = False
    """The probe itself could not be run: counts neither way, as in the kubelet's unknown state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """A probe's numbers with Kubernetes' defaults."""

    initial_delay_s: float
    period_s: float
    timeout_s: float
    failure_threshold: int
    success_threshold: int
    grace_s: float | None

    @classmethod
    def of(cls, probe: Object) -> ProbeSettings:
        grace = probe.get("terminationGracePeriodSeconds")
        return cls(
            initial_delay_s=float(probe.get("initialDelaySeconds") or 0),
            period_s=float(probe.get("periodSeconds") or 10),
            timeout_s=float(probe.get("timeoutSeconds") or 1),
            failure_threshold=probe.get("failureThreshold") or 3,
            success_threshold=probe.get("successThreshold") or 1,
            grace_s=float(grace) if grace is not None else None,
        )


class ProbeState:
    """One probe of one instance of a container."""

    __slots__ = ("attempt", "busy", "container", "held", "kind", "run", "settings", "streak", "verdict")

    def __init__(self, container: str, kind: str, probe: Object, attempt: int) -> None:
        self.container = container
        self.kind = kind
        self.attempt = attempt
        """The instance it is about."""
        self.settings = ProbeSettings.of(probe)
        self.verdict: bool | None = {"readiness": False, "liveness": True, "startup": None}[kind]
        self.streak: bool | None = None
        self.run = 0
        self.busy = False
        """A probe is under way; they never overlap."""
        self.held = False
        """No more probing of this instance: startup succeeded, or a restart is due."""

    def repeats(self, result: Result) -> bool:
        """True for one more success where success is the verdict already; then it needs no booking."""
        return result.success and self.streak is True and self.verdict is True

    def book(self, result: Result) -> bool | None:
        """Takes a result; the new verdict where it turned (a failed liveness or startup one always)."""
        if result.errored or self.held:
            return None
        if self.streak == result.success:
            self.run += 1
        else:
            self.streak, self.run = result.success, 1
        threshold = self.settings.success_threshold if result.success else self.settings.failure_threshold
        if self.run < threshold or self.verdict == result.success:
            return None
        self.verdict = result.success
        if self.kind == "startup" or (self.kind == "liveness" and not result.success):
            self.held = True
        return result.success


def event_message(kind: str, result: Result) -> str:
    """Of the Unhealthy event."""
    if result.errored:
        return f"{WORD[kind]} probe errored and resulted in unknown state: {result.output}"
    return f"{WORD[kind]} probe failed: {result.output}"
