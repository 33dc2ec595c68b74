"""How fast an autoscaler may move: stabilisation windows, rate policies, minimum and maximum. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from cluster.api.objects import Object

_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(slots=True)
class Memory:
    """What one autoscaler remembers between looks. Times are seconds of the monotonic clock."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    """(when, pods added)."""
    downs: list[tuple[float, int]] = field(default_factory=list)

    def note_scaled(self, before: int, after: int, now_s: float) -> None:
        (self.ups if after > before else self.downs).append((now_s, abs(after - before)))


@dataclass(frozen=True, slots=True)
class Limited:
    replicas: int
    able: tuple[str, str]
    """Reason and message of AbleToScale."""
    limited: tuple[str, str, str]
    """Status, reason and message of ScalingLimited."""


def rules_of(autoscaler: Object, direction: str) -> Object:
    """spec.behavior.scaleUp or scaleDown with defaults."""
    given = (autoscaler["spec"].get("behavior") or {}).get(direction) or {}
    defaults = _UP if direction == "scaleUp" else _DOWN
    rules: Object = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    return rules


def limit(autoscaler: Object, memory: Memory, current: int, wanted: int, now_s: float) -> Limited:
    """The wanted number, stabilised and bounded."""
    up, down = rules_of(autoscaler, "scaleUp"), rules_of(autoscaler, "scaleDown")
    stable, able = _stabilised(memory, up, down, current, wanted, now_s)
    spec = autoscaler["spec"]
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    if stable > current:
        rate = _up_limit(memory, up, current, now_s)
        if rate < most and stable > rate:
            return Limited(max(rate, current), able, _SLOWED_UP)
        if stable > most:
            return Limited(most, able, _TOO_MANY)
    elif stable < current:
        rate = _down_limit(memory, down, current, now_s)
        if rate > least and stable < rate:
            return Limited(min(rate, current), able, _SLOWED_DOWN)
        if stable < least:
            return Limited(least, able, _TOO_FEW)
    return Limited(stable, able, _WITHIN)


_WITHIN = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY = ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
_SLOWED_UP = (
    "True",
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
_SLOWED_DOWN = (
    "True",
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)


def _stabilised(
    memory: Memory, up: Object, down: Object, current: int, wanted: int, now_s: float
) -> tuple[int, tuple[str, str]]:
    up_window, down_window = up["stabilizationWindowSeconds"], down["stabilizationWindowSeconds"]
    longest = max(up_window, down_window)
    memory.recommendations = [(at, n) for at, n in memory.recommendations if now_s - at < longest]
    lowest = min([wanted, *(n for at, n in memory.recommendations if now_s - at < up_window)])
    highest = max([wanted, *(n for at, n in memory.recommendations if now_s - at < down_window)])
    memory.recommendations.append((now_s, wanted))
    stable = current
    if stable < lowest:
        stable = lowest
    if stable > highest:
        stable = highest
    if stable == wanted:
        return stable, ("ReadyForNewScale", "recommended size matches current size")
    if stable < wanted:
        why = "recent recommendations were lower than current one, applying the lowest recent recommendation"
        return stable, ("ScaleUpStabilized", why)
    why = "recent recommendations were higher than current one, applying the highest recent recommendation"
    return stable, ("ScaleDownStabilized", why)


def _within(changes: Sequence[tuple[float, int]], period_s: float, now_s: float) -> int:
    return sum(count for at, count in changes if now_s - at < period_s)


def _up_limit(memory: Memory, rules: Object, current: int, now_s: float) -> int:
    if rules["selectPolicy"] == "Disabled":
        return current
    results: list[int] = []
    for policy in rules["policies"]:
        period_s = policy["periodSeconds"]
        added, removed = _within(memory.ups, period_s, now_s), _within(memory.downs, period_s, now_s)
        start = current - added + removed
        if policy["type"] == "Pods":
            results.append(start + policy["value"])
        else:
            results.append(math.ceil(start * (1 + Fraction(policy["value"], 100))))
    return min(results) if rules["selectPolicy"] == "Min" else max(results)


def _down_limit(memory: Memory, rules: Object, current: int, now_s: float) -> int:
    if rules["selectPolicy"] == "Disabled":
        return current
    results: list[int] = []
    for policy in rules["policies"]:
        period_s = policy["periodSeconds"]
        added, removed = _within(memory.ups, period_s, now_s), _within(memory.downs, period_s, now_s)
        start = current - added + removed
        if policy["type"] == "Pods":
            results.append(start - policy["value"])
        else:
            results.append(math.floor(start * (1 - Fraction(policy["value"], 100))))
    return max(results) if rules["selectPolicy"] == "Min" else min(results)


def forget_old(memory: Memory, autoscaler: Object, now_s: float) -> None:
    """Drops the changes that no policy looks back to."""
    policies = [
        policy for way in ("scaleUp", "scaleDown") for policy in rules_of(autoscaler, way)["policies"]
    ]
    longest = max((policy["periodSeconds"] for policy in policies), default=0)
    memory.ups = [(at, n) for at, n in memory.ups if now_s - at < longest]
    memory.downs = [(at, n) for at, n in memory.downs if now_s - at < longest]
