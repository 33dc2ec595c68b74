"""Profiles: which plugins take part, in which order, with which weight. The default one is Kubernetes'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cluster.api import kinds
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.scheduler.arguments import Arguments
from cluster.scheduler.configuration import DEFAULT_NAME, ProfileSettings
from cluster.scheduler.nodes import NodeInfo
from cluster.scheduler.plugins import FilterPlugin, ScorePlugin
from cluster.scheduler.plugins.dynamic_resources import DynamicResources
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
from cluster.scheduler.plugins.volume_limits import NodeVolumeLimits
from cluster.scheduler.plugins.volume_restrictions import VolumeRestrictions
from cluster.scheduler.plugins.volume_zone import VolumeZone
from cluster.scheduler.plugins.volumes import Lookup, VolumeBinding
from cluster.scheduler.pods import PodInfo

__all__ = ["DEFAULT_NAME", "Objects", "Profile", "profile_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What plugins look up beside nodes and pods."""

    of: Callable[[Resource], Lookup] = lambda resource: _nothing
    all_volumes: Callable[[], Iterable[Object]] = tuple
    attachments: Callable[[str], Iterable[Object]] = lambda node: ()
    """The VolumeAttachments of a node."""
    default_selector: SelectorOf = lambda pod: None


def _nothing(key: Key) -> Object | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    name: str
    """What pods call it in spec.schedulerName."""
    filters: tuple[FilterPlugin, ...]
    scores: tuple[tuple[ScorePlugin, int], ...]
    fit: Callable[[PodInfo, NodeInfo], int]
    """NodeResourcesFit's score of one node."""
    arguments: Arguments
    percentage_of_nodes: int = 0
    """How many feasible nodes are enough, of all; 0: adaptive, as Kubernetes does."""


def volume_binding(objects: Objects) -> VolumeBinding:
    of = objects.of
    return VolumeBinding(
        of(kinds.PERSISTENT_VOLUME_CLAIMS),
        of(kinds.PERSISTENT_VOLUMES),
        of(kinds.STORAGE_CLASSES),
        objects.all_volumes,
    )


def profile_of(settings: ProfileSettings, objects: Objects) -> Profile:
    arguments, weights = settings.arguments, settings.weights
    taints, affinity = TaintToleration(), NodeAffinity(arguments.added_affinity)
    fit = NodeResourcesFit(arguments)
    spread = PodTopologySpread(objects.default_selector, arguments.spread)
    pods = InterPodAffinity(
        arguments.hard_weight, ignore_preferred_of_existing=arguments.ignore_preferred_of_existing
    )
    filters: tuple[FilterPlugin, ...] = (
        NodeUnschedulable(),
        NodeName(),
        taints,
        affinity,
        NodePorts(),
        fit,
        *_volume_filters(objects),
        spread,
        pods,
        DynamicResources(objects.of(kinds.RESOURCE_CLAIMS), objects.of(kinds.DEVICE_CLASSES)),
    )
    scores: tuple[ScorePlugin, ...] = (
        taints,
        affinity,
        spread,
        pods,
        fit,
        NodeResourcesBalancedAllocation(arguments.balanced),
        ImageLocality(),
    )
    return Profile(
        name=settings.name,
        filters=tuple(plugin for plugin in filters if plugin.name in settings.filters),
        scores=tuple((plugin, weights[plugin.name]) for plugin in scores if weights.get(plugin.name)),
        fit=fit.score,
        arguments=arguments,
        percentage_of_nodes=settings.percentage_of_nodes,
    )


def _volume_filters(objects: Objects) -> tuple[FilterPlugin, ...]:
    of = objects.of
    claims, volumes, classes = (
        of(kinds.PERSISTENT_VOLUME_CLAIMS),
        of(kinds.PERSISTENT_VOLUMES),
        of(kinds.STORAGE_CLASSES),
    )
    return (
        VolumeRestrictions(claims),
        NodeVolumeLimits(
            claims, volumes, classes, of(kinds.CSI_NODES), of(kinds.CSI_DRIVERS), objects.attachments
        ),
        volume_binding(objects),
        VolumeZone(claims, volumes),
    )
