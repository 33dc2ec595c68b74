"""The scheduler's configuration: several profiles, each with its plugins' weights.

It is read from a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), as kube-scheduler's `--config`
takes it. What is understood: `percentageOfNodesToScore`; per profile `schedulerName`,
`percentageOfNodesToScore`, `plugins.{multiPoint,filter,score}` with `enabled` (name, weight) and `disabled`
(a name or `*`), and the plugins' arguments (`arguments`). Anything else is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.scheduler.arguments import PLAIN, Arguments, read_arguments
from cluster.scheduler.reading import ConfigurationError, mapping, text, whole

__all__ = ["DEFAULT", "DEFAULT_NAME", "Configuration", "ConfigurationError", "ProfileSettings", "read"]

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
FILTERS = (
    "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
    "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "PodTopologySpread",
    "InterPodAffinity", "DynamicResources",
)  # fmt: skip
_API = "kubescheduler.config.k8s.io/v1"
_KIND = "KubeSchedulerConfiguration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    name: str = DEFAULT_NAME
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    """Of the plugins that score; one that is left out doesn't."""
    filters: Sequence[str] = FILTERS
    percentage_of_nodes: int = 0
    """How many feasible nodes are enough, of all; 0: adaptive, as Kubernetes does."""
    arguments: Arguments = PLAIN
    """Of the plugins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    profiles: Sequence[ProfileSettings] = (ProfileSettings(),)


DEFAULT = Configuration()


def read(document: Any) -> Configuration:
    """Raises ConfigurationError."""
    top = mapping(document, "", {"apiVersion", "kind", "profiles", "percentageOfNodesToScore"})
    if (top.get("apiVersion"), top.get("kind")) != (_API, _KIND):
        raise ConfigurationError(f"expected apiVersion {_API} and kind {_KIND}")
    share = whole(top, "percentageOfNodesToScore", "", 0)
    listed = top.get("profiles", [{}])
    if not isinstance(listed, list) or not listed:
        raise ConfigurationError("profiles: expected a list with at least one profile")
    profiles = tuple(_profile(body, f"profiles[{i}]", share) for i, body in enumerate(listed))
    names = [profile.name for profile in profiles]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f'profiles: duplicate profile with scheduler name "{name}"')
    return Configuration(profiles=profiles)


def _profile(body: Any, where: str, share: int) -> ProfileSettings:
    given = mapping(body, where, {"schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"})
    plugins = mapping(given.get("plugins", {}), f"{where}.plugins", {"multiPoint", "filter", "score"})
    weights, filters = dict(WEIGHTS), list(FILTERS)
    for point in ("multiPoint", "filter", "score"):
        at = f"{where}.plugins.{point}"
        change = mapping(plugins.get(point, {}), at, {"enabled", "disabled"})
        for name, _ in _named(change, "disabled", at):
            if point != "filter":
                _drop(weights, name)
            if point != "score":
                filters = [] if name == "*" else [each for each in filters if each != name]
        for name, weight in _named(change, "enabled", at):
            if point != "filter" and name in WEIGHTS:
                weights[name] = weight if weight is not None else WEIGHTS[name]
            if point != "score" and name in FILTERS and name not in filters:
                filters.append(name)
    return ProfileSettings(
        name=text(given, "schedulerName", where, DEFAULT_NAME),
        weights=weights,
        filters=tuple(name for name in FILTERS if name in filters),
        percentage_of_nodes=whole(given, "percentageOfNodesToScore", where, share),
        arguments=read_arguments(given.get("pluginConfig", []), f"{where}.pluginConfig"),
    )


def _drop(weights: dict[str, int], name: str) -> None:
    if name == "*":
        weights.clear()
    weights.pop(name, None)


def _named(change: Mapping[str, Any], part: str, where: str) -> Iterator[tuple[str, int | None]]:
    for i, entry in enumerate(change.get(part, [])):
        at = f"{where}.{part}[{i}]"
        body = mapping(entry, at, {"name", "weight"} if part == "enabled" else {"name"})
        name, weight = text(body, "name", at, ""), body.get("weight")
        if not (name == "*" and part == "disabled") and name not in WEIGHTS and name not in FILTERS:
            known = ", ".join(dict.fromkeys((*FILTERS, *WEIGHTS)))
            raise ConfigurationError(f"{at}.name: {name!r} is none of {known}")
        if weight is not None and (not isinstance(weight, int) or not 0 < weight <= 100):
            raise ConfigurationError(f"{at}.weight: expected a number from 1 to 100")
        yield name, weight
