"""The scheduler's configuration: several profiles, each with its plugins' weights.

It is read from a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), as kube-scheduler's `--config`
takes it. What is understood: `percentageOfNodesToScore`; per profile `schedulerName`,
`percentageOfNodesToScore`, `plugins.{multiPoint,filter,score}` with `enabled` (name, weight) and `disabled`
(a name or `*`), and for NodeResourcesFit the arguments `scoringStrategy.{type,resources}` with LeastAllocated
and MostAllocated. Anything else is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    "VolumeRestrictions", "VolumeBinding", "PodTopologySpread", "InterPodAffinity",
)  # fmt: skip
STRATEGIES = ("LeastAllocated", "MostAllocated")
_API = "kubescheduler.config.k8s.io/v1"
_KIND = "KubeSchedulerConfiguration"


class ConfigurationError(ValueError):
    """The configuration is wrong; says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    name: str = DEFAULT_NAME
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    """Of the plugins that score; one that is left out doesn't."""
    filters: Sequence[str] = FILTERS
    percentage_of_nodes: int = 0
    """How many feasible nodes are enough, of all; 0: adaptive, as Kubernetes does."""
    strategy: str = "LeastAllocated"
    resources: Sequence[tuple[str, int]] = (("cpu", 1), ("memory", 1))
    """What the strategy looks at, with weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    profiles: Sequence[ProfileSettings] = (ProfileSettings(),)


DEFAULT = Configuration()


def read(document: Any) -> Configuration:
    """Raises ConfigurationError."""
    top = _mapping(document, "", {"apiVersion", "kind", "profiles", "percentageOfNodesToScore"})
    if (top.get("apiVersion"), top.get("kind")) != (_API, _KIND):
        raise ConfigurationError(f"expected apiVersion {_API} and kind {_KIND}")
    share = _percentage(top, "percentageOfNodesToScore", 0)
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
    given = _mapping(body, where, {"schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"})
    plugins = _mapping(given.get("plugins", {}), f"{where}.plugins", {"multiPoint", "filter", "score"})
    weights, filters = dict(WEIGHTS), list(FILTERS)
    for point in ("multiPoint", "filter", "score"):
        at = f"{where}.plugins.{point}"
        change = _mapping(plugins.get(point, {}), at, {"enabled", "disabled"})
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
    strategy, resources = _strategy(given.get("pluginConfig", []), f"{where}.pluginConfig")
    return ProfileSettings(
        name=_text(given, "schedulerName", where, DEFAULT_NAME),
        weights=weights,
        filters=tuple(name for name in FILTERS if name in filters),
        percentage_of_nodes=_percentage(given, "percentageOfNodesToScore", share),
        strategy=strategy,
        resources=resources,
    )


def _drop(weights: dict[str, int], name: str) -> None:
    if name == "*":
        weights.clear()
    weights.pop(name, None)


def _named(change: Mapping[str, Any], part: str, where: str) -> Iterator[tuple[str, int | None]]:
    for i, entry in enumerate(change.get(part, [])):
        at = f"{where}.{part}[{i}]"
        body = _mapping(entry, at, {"name", "weight"} if part == "enabled" else {"name"})
        name, weight = _text(body, "name", at, ""), body.get("weight")
        if not (name == "*" and part == "disabled") and name not in WEIGHTS and name not in FILTERS:
            known = ", ".join(dict.fromkeys((*FILTERS, *WEIGHTS)))
            raise ConfigurationError(f"{at}.name: {name!r} is none of {known}")
        if weight is not None and (not isinstance(weight, int) or not 0 < weight <= 100):
            raise ConfigurationError(f"{at}.weight: expected a number from 1 to 100")
        yield name, weight


def _strategy(configs: Any, where: str) -> tuple[str, Sequence[tuple[str, int]]]:
    default = ProfileSettings()
    strategy, resources = default.strategy, default.resources
    for i, entry in enumerate(configs):
        at = f"{where}[{i}]"
        body = _mapping(entry, at, {"name", "args"})
        if body.get("name") != "NodeResourcesFit":
            raise ConfigurationError(f"{at}.name: only NodeResourcesFit takes arguments")
        known = {"apiVersion", "kind", "scoringStrategy"}
        arguments = _mapping(body.get("args", {}), f"{at}.args", known)
        at = f"{at}.args.scoringStrategy"
        scoring = _mapping(arguments.get("scoringStrategy", {}), at, {"type", "resources"})
        strategy = _text(scoring, "type", at, strategy)
        if strategy not in STRATEGIES:
            raise ConfigurationError(f"{at}.type: {strategy!r} is none of {', '.join(STRATEGIES)}")
        if listed := scoring.get("resources"):
            resources = tuple(
                (_text(each, "name", f"{at}.resources", ""), int(each.get("weight", 1))) for each in listed
            )
    return strategy, resources


def _mapping(value: Any, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where or 'document'}: expected an object")
    for name in value:
        if name not in known:
            at = f"{where}.{name}" if where else name
            raise ConfigurationError(f"{at}: unknown field; known are {', '.join(sorted(known))}")
    return value


def _text(body: Mapping[str, Any], name: str, where: str, default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{where}.{name}: expected a name")
    return value


def _percentage(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or not 0 <= value <= 100:
        raise ConfigurationError(f"{name}: expected a number from 0 to 100")
    return value
