"""The arguments of a profile's plugins (`pluginConfig`), as kube-scheduler names them.

| plugin | arguments |
|---|---|
| NodeResourcesFit | `ignoredResources`, `ignoredResourceGroups`, `scoringStrategy` of any type |
| NodeResourcesBalancedAllocation | `resources` |
| PodTopologySpread | `defaultConstraints`, `defaultingType` |
| InterPodAffinity | `hardPodAffinityWeight`, `ignorePreferredTermsOfExistingPods` |
| NodeAffinity | `addedAffinity` |
| VolumeBinding | `bindTimeoutSeconds` |
| DefaultPreemption | `minCandidateNodesPercentage`, `minCandidateNodesAbsolute` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from cluster.scheduler.reading import ConfigurationError, mapping, one_of, sequence, switch, text, whole

STRATEGIES = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
RATIO = "RequestedToCapacityRatio"
Weighted = tuple[str, int]
"""(resource, weight)."""
_CPU_AND_MEMORY: Sequence[Weighted] = (("cpu", 1), ("memory", 1))
_HEAD = {"apiVersion", "kind"}
_MANY = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultSpread:
    """A constraint for pods that name none."""

    key: str
    max_skew: int
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    strategy: str = "LeastAllocated"
    resources: Sequence[Weighted] = _CPU_AND_MEMORY
    """What the strategy looks at."""
    shape: Sequence[tuple[int, int]] = ()
    """(utilisation in percent, score from 0 to 10), for RequestedToCapacityRatio."""
    ignored_resources: Sequence[str] = ()
    ignored_groups: Sequence[str] = ()
    balanced: Sequence[str] = ("cpu", "memory")
    """Resources that NodeResourcesBalancedAllocation keeps in balance."""
    spread: Sequence[DefaultSpread] | None = None
    """None: the system's defaults."""
    hard_weight: int = 1
    """What an existing pod's required affinity for the incoming pod is worth."""
    ignore_preferred_of_existing: bool = False
    added_affinity: Mapping[str, Any] | None = None
    """A nodeAffinity that every pod of the profile has beside its own."""
    bind_timeout_s: float = 600.0
    candidates_share: int = 10
    """Percent of the nodes on which preemption is tried …"""
    candidates_least: int = 100
    """… but at least so many."""

    @property
    def plain(self) -> bool:
        """Nothing that the short way of placing (`templates`) doesn't know."""
        return (
            tuple(self.balanced) == ("cpu", "memory") and self.spread is None and self.added_affinity is None
        )


PLAIN = Arguments()


def read_arguments(configs: Any, where: str) -> Arguments:
    """Raises ConfigurationError."""
    if not isinstance(configs, list):
        raise ConfigurationError(f"{where}: expected a list")
    arguments = PLAIN
    seen: list[str] = []
    for i, entry in enumerate(configs):
        at = f"{where}[{i}]"
        body = mapping(entry, at, {"name", "args"})
        name = body.get("name", "")
        reader = _READERS.get(name)
        if reader is None:
            raise ConfigurationError(f"{at}.name: only {', '.join(_READERS)} take arguments")
        if name in seen:
            raise ConfigurationError(f"{at}.name: repeated config for plugin {name}")
        seen.append(name)
        arguments = reader(arguments, body.get("args", {}), f"{at}.args")
    return arguments


def _fit(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"ignoredResources", "ignoredResourceGroups", "scoringStrategy"})
    groups = _names(given, "ignoredResourceGroups", at)
    for group in groups:
        if "/" in group:
            raise ConfigurationError(f"{at}.ignoredResourceGroups: {group!r} can't contain '/'")
    place = f"{at}.scoringStrategy"
    known = {"type", "resources", "requestedToCapacityRatio"}
    scoring = mapping(given.get("scoringStrategy", {}), place, known)
    strategy = one_of(scoring, "type", place, arguments.strategy, STRATEGIES)
    shape: Sequence[tuple[int, int]] = ()
    if strategy == RATIO:
        ratio = mapping(
            scoring.get("requestedToCapacityRatio", {}), f"{place}.requestedToCapacityRatio", {"shape"}
        )
        shape = _shape(ratio, f"{place}.requestedToCapacityRatio")
    return replace(
        arguments,
        strategy=strategy,
        shape=shape,
        resources=_resources(scoring, place) or arguments.resources,
        ignored_resources=_names(given, "ignoredResources", at),
        ignored_groups=groups,
    )


def _shape(ratio: Mapping[str, Any], at: str) -> Sequence[tuple[int, int]]:
    points = []
    for i, entry in enumerate(sequence(ratio, "shape", at)):
        place = f"{at}.shape[{i}]"
        point = mapping(entry, place, {"utilization", "score"})
        points.append((whole(point, "utilization", place, 0), whole(point, "score", place, 0, most=10)))
    if not points:
        raise ConfigurationError(f"{at}.shape: at least one point must be specified")
    if any(first[0] >= second[0] for first, second in pairwise(points)):
        raise ConfigurationError(f"{at}.shape: utilization values must be sorted in increasing order")
    return tuple(points)


def _balanced(arguments: Arguments, body: Any, at: str) -> Arguments:
    resources = _resources(mapping(body, at, _HEAD | {"resources"}), at)
    if any(weight != 1 for _, weight in resources):
        raise ConfigurationError(f"{at}.resources: resource weight must be 1")
    return replace(arguments, balanced=tuple(name for name, _ in resources) or arguments.balanced)


def _spread(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"defaultConstraints", "defaultingType"})
    entries = sequence(given, "defaultConstraints", at)
    if one_of(given, "defaultingType", at, "System", ("System", "List")) == "System":
        if entries:
            raise ConfigurationError(
                f'{at}.defaultingType: when .defaultConstraints are not empty, must be "List"'
            )
        return arguments
    found = []
    for i, entry in enumerate(entries):
        place = f"{at}.defaultConstraints[{i}]"
        constraint = mapping(entry, place, {"maxSkew", "topologyKey", "whenUnsatisfiable"})
        found.append(
            DefaultSpread(
                key=text(constraint, "topologyKey", place, ""),
                max_skew=whole(constraint, "maxSkew", place, 0, least=1, most=_MANY),
                when=one_of(constraint, "whenUnsatisfiable", place, "", ("DoNotSchedule", "ScheduleAnyway")),
            )
        )
    return replace(arguments, spread=tuple(found))


def _pod_affinity(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"})
    return replace(
        arguments,
        hard_weight=whole(given, "hardPodAffinityWeight", at, arguments.hard_weight),
        ignore_preferred_of_existing=switch(given, "ignorePreferredTermsOfExistingPods", at),
    )


def _node_affinity(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"addedAffinity"})
    if given.get("addedAffinity") is None:
        return arguments
    kinds = {
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    }
    return replace(arguments, added_affinity=mapping(given["addedAffinity"], f"{at}.addedAffinity", kinds))


def _volumes(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"bindTimeoutSeconds"})
    return replace(
        arguments,
        bind_timeout_s=float(
            whole(given, "bindTimeoutSeconds", at, int(arguments.bind_timeout_s), most=_MANY)
        ),
    )


def _preemption(arguments: Arguments, body: Any, at: str) -> Arguments:
    given = mapping(body, at, _HEAD | {"minCandidateNodesPercentage", "minCandidateNodesAbsolute"})
    return replace(
        arguments,
        candidates_share=whole(given, "minCandidateNodesPercentage", at, arguments.candidates_share),
        candidates_least=whole(
            given, "minCandidateNodesAbsolute", at, arguments.candidates_least, most=_MANY
        ),
    )


def _resources(body: Mapping[str, Any], at: str) -> Sequence[Weighted]:
    found = []
    for i, entry in enumerate(sequence(body, "resources", at)):
        place = f"{at}.resources[{i}]"
        resource = mapping(entry, place, {"name", "weight"})
        found.append((text(resource, "name", place, ""), whole(resource, "weight", place, 1) or 1))
    return tuple(found)


def _names(body: Mapping[str, Any], name: str, at: str) -> Sequence[str]:
    return tuple(str(entry) for entry in sequence(body, name, at))


_READERS: Mapping[str, Callable[[Arguments, Any, str], Arguments]] = {
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": _balanced,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _pod_affinity,
    "NodeAffinity": _node_affinity,
    "VolumeBinding": _volumes,
    "DefaultPreemption": _preemption,
}
