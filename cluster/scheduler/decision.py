"""What came of trying to place one pod, with the reason of every node, and Kubernetes' words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one plugin refuses one node."""

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool = True
    """False: evicting pods from the node would not help."""


@dataclass(slots=True, kw_only=True)
class Decision:
    node: str = ""
    """Empty: the pod fits nowhere."""
    nodes_total: int = 0
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By node, of the nodes that were looked at."""
    refusal: Refusal | None = None
    """Of the pod as such, before any node was looked at."""
    scores: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Node → plugin → weighted score; only where an explanation was asked for."""
    feasible: int = 0
    preemption: str = ""
    """What the search for pods to evict came to, as the message says it."""

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plugins whose refusals made the pod unschedulable, sorted."""
        if self.refusal is not None:
            return (self.refusal.plugin,)
        return tuple(sorted({refusal.plugin for refusal in self.refusals.values()}))

    def message(self) -> str:
        """As in the FailedScheduling event and the PodScheduled condition."""
        if self.nodes_total == 0:
            return "no nodes available to schedule pods"
        counts: Counter[str] = Counter()
        for refusal in self.refusals.values():
            counts.update(refusal.reasons)
        text = f"0/{self.nodes_total} nodes are available:"
        if self.refusal is not None:
            text += f" {', '.join(self.refusal.reasons)}."
        if counts:
            text += f" {histogram(counts)}."
        if self.preemption:
            text += f" {self.preemption}"
        return text


def histogram(counts: Mapping[str, int]) -> str:
    """Reasons with how often they hold, in Kubernetes' order: sorted as text."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
