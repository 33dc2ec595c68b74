"""Profiles: which plugins take part, in which order, with which weight. The default one is Kubernetes'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cluster.scheduler.configuration import DEFAULT_NAME, ProfileSettings
from cluster.scheduler.nodes import NodeInfo
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
from cluster.scheduler.plugins.volumes import VolumeBinding, VolumeRestrictions
from cluster.scheduler.pods import PodInfo

__all__ = ["DEFAULT_NAME", "Profile", "default_profile", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    name: str
    """What pods call it in spec.schedulerName."""
    filters: tuple[FilterPlugin, ...]
    scores: tuple[tuple[ScorePlugin, int], ...]
    fit: Callable[[PodInfo, NodeInfo], int]
    """NodeResourcesFit's score of one node."""
    percentage_of_nodes: int = 0
    """How many feasible nodes are enough, of all; 0: adaptive, as Kubernetes does."""


def default_profile(default_selector: SelectorOf, volumes: VolumeBinding) -> Profile:
    return profile_of(ProfileSettings(), default_selector, volumes)


def profile_of(settings: ProfileSettings, default_selector: SelectorOf, volumes: VolumeBinding) -> Profile:
    taints, affinity = TaintToleration(), NodeAffinity()
    fit = NodeResourcesFit(settings.strategy, settings.resources)
    spread, pods = PodTopologySpread(default_selector), InterPodAffinity()
    filters: tuple[FilterPlugin, ...] = (
        NodeUnschedulable(),
        NodeName(),
        taints,
        affinity,
        NodePorts(),
        fit,
        VolumeRestrictions(volumes.claims),
        volumes,
        spread,
        pods,
    )
    scores: tuple[ScorePlugin, ...] = (
        taints,
        affinity,
        spread,
        pods,
        fit,
        NodeResourcesBalancedAllocation(),
        ImageLocality(),
    )
    weights = settings.weights
    return Profile(
        name=settings.name,
        filters=tuple(plugin for plugin in filters if plugin.name in settings.filters),
        scores=tuple((plugin, weights[plugin.name]) for plugin in scores if weights.get(plugin.name)),
        fit=fit.score,
        percentage_of_nodes=settings.percentage_of_nodes,
    )
