"""How fast nodes may be tainted for eviction, zone by zone.

A zone in which most nodes are silent is more likely cut off than dead, so its evictions slow down or stop;
when every zone is entirely silent, it is more likely the controller that is cut off, and nothing is
evicted at all. Pure, with the time as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from cluster.api.objects import Object

UNHEALTHY_THRESHOLD = 0.55
"""Share of nodes that are not ready from which on a zone counts as partially disrupted."""
LARGE_ZONE = 50
"""Up to this many nodes a partially disrupted zone evicts nothing; above, at a tenth of the rate."""
SECONDARY_SHARE = 0.1


class ZoneState(Enum):
    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


def zone_of(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    region = labels.get("topology.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:\x00:{zone}" if region or zone else ""


def state_of(ready: int, not_ready: int) -> ZoneState:
    if not ready and not_ready:
        return ZoneState.FULL
    if not_ready > 2 and not_ready / (ready + not_ready) >= UNHEALTHY_THRESHOLD:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


class Limiter:
    """A token bucket that holds one token."""

    def __init__(self, rate_per_s: float, now: float) -> None:
        self.rate_per_s = rate_per_s
        self._tokens = 1.0 if rate_per_s else 0.0
        self._at = now

    def set_rate(self, rate_per_s: float, now: float) -> None:
        if rate_per_s != self.rate_per_s:
            self._fill(now)
            self.rate_per_s = rate_per_s
            self._tokens = 1.0 if rate_per_s else 0.0

    def take(self, now: float) -> float:
        """0 if a token was taken, else the seconds until there is one (infinite at rate 0)."""
        self._fill(now)
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate_per_s if self.rate_per_s else float("inf")

    def _fill(self, now: float) -> None:
        self._tokens = min(1.0, self._tokens + (now - self._at) * self.rate_per_s)
        self._at = now


class Zones:
    """The zones' states and limiters."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._limiters: dict[str, Limiter] = {}
        self.states: dict[str, ZoneState] = {}

    @property
    def all_disrupted(self) -> bool:
        return bool(self.states) and all(state is ZoneState.FULL for state in self.states.values())

    def judge(self, counts: Mapping[str, tuple[int, int]], now: float) -> None:
        """Takes in (ready, not ready) nodes per zone."""
        self.states = {zone: state_of(*pair) for zone, pair in counts.items()}
        stopped = self.all_disrupted
        for zone, (ready, not_ready) in counts.items():
            rate = 0.0 if stopped else self._rate(self.states[zone], ready + not_ready)
            if zone in self._limiters:
                self._limiters[zone].set_rate(rate, now)
            else:
                self._limiters[zone] = Limiter(rate, now)

    def take(self, zone: str, now: float) -> float:
        limiter = self._limiters.get(zone)
        return float("inf") if limiter is None else limiter.take(now)

    def _rate(self, state: ZoneState, size: int) -> float:
        if state is not ZoneState.PARTIAL:
            return self._rate_per_s
        return self._rate_per_s * SECONDARY_SHARE if size > LARGE_ZONE else 0.0
