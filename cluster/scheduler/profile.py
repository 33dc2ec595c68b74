"""Profiles: which plugins take part, in which order, with which weight. The default one is Kubernetes'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.scheduler.plugins import FilterPlugin, ScorePlugin
from cluster.scheduler.plugins.image_locality import ImageLocality
from cluster.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from cluster.scheduler.plugins.node_facts import (
    NodeAffinity,
    NodeName,
    NodePorts,
    NodeUnschedulable,
    TaintToleration,
)
from cluster.scheduler.plugins.resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from cluster.scheduler.plugins.topology_spread import PodTopologySpread, SelectorOf
from cluster.scheduler.plugins.volumes import VolumeBinding

DEFAULT_NAME = "default-scheduler"

WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    name: str
    """What pods call it in spec.schedulerName."""
    filters: tuple[FilterPlugin, ...]
    scores: tuple[tuple[ScorePlugin, int], ...]
    percentage_of_nodes: int = 0
    """How many feasible nodes are enough, of all; 0: adaptive, as Kubernetes does."""


def default_profile(
    default_selector: SelectorOf, volumes: VolumeBinding, *, weights: Mapping[str, int] = WEIGHTS
) -> Profile:
    taints, affinity, fit = TaintToleration(), NodeAffinity(), NodeResourcesFit()
    spread, pods = PodTopologySpread(default_selector), InterPodAffinity()
    scores: tuple[ScorePlugin, ...] = (
        taints,
        affinity,
        spread,
        pods,
        fit,
        NodeResourcesBalancedAllocation(),
        ImageLocality(),
    )
    return Profile(
        name=DEFAULT_NAME,
        filters=(NodeUnschedulable(), NodeName(), taints, affinity, NodePorts(), fit, volumes, spread, pods),
        scores=tuple((plugin, weights[plugin.name]) for plugin in scores if weights.get(plugin.name)),
    )
