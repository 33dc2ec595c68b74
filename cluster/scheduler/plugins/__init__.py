"""The scheduler's plugins: what refuses a node for a pod, and what prefers one node to another.

A plugin is asked once per pod, not once per node: `filter_for` gives a check to be run on nodes, or None
where the pod gives it nothing to check; `scores_for` scores all feasible nodes at once, normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cluster.scheduler.decision import Refusal
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.snapshot import Snapshot

Check: TypeAlias = Callable[[NodeInfo], Refusal | None]
MAX_SCORE = 100


@dataclass(frozen=True, slots=True)
class Within:
    """A check that refuses all nodes but those with one of a few values of a label: the search need not visit
    the others."""

    check: Check
    key: str
    values: Sequence[str]

    def __call__(self, node: NodeInfo) -> Refusal | None:
        return self.check(node)


class FilterPlugin(Protocol):
    name: str

    def filter_for(self, pod: PodInfo, snapshot: Snapshot) -> Check | Refusal | None:
        """A check for each node; a Refusal where the pod fits nowhere; None where every node will do."""


class ScorePlugin(Protocol):
    name: str

    def scores_for(self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Sequence[int] | None:
        """0…MAX_SCORE for each node, in their order; None where all would be equal."""


def normalised(raw: Sequence[int], *, reverse: bool = False) -> list[int] | None:
    """Raw scores scaled so that the highest is MAX_SCORE; `reverse`: fewer is better. As Kubernetes'
    DefaultNormalizeScore."""
    highest = max(raw, default=0)
    if highest == 0:
        return None
    scaled = [score * MAX_SCORE // highest for score in raw]
    return [MAX_SCORE - score for score in scaled] if reverse else scaled
