"""RBAC policy rules: what one allows, and whether a set of rules covers another.

A rule is compiled once into frozen sets; deciding one request is then a handful of look-ups. `covers`
follows Kubernetes' rule of thumb: the wanted rules are broken down into single permissions (one verb, one
group, one resource, one name), and each must be allowed as a whole by one of the rules that are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.server.auth.attributes import Attributes

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    paths: tuple[str, ...]
    source: Mapping[str, Any]

    def allows(self, attributes: Attributes) -> bool:
        if attributes.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not attributes.resource:
            return path_matches(self.paths, attributes.path)
        return (
            (attributes.group in self.groups or ALL in self.groups)
            and resource_matches(self.resources, attributes.resource, attributes.subresource)
            and (not self.names or attributes.name in self.names)
        )


def compiled(rules: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(_compile(rule) for rule in rules or ())


def _compile(rule: Mapping[str, Any]) -> Rule:
    return Rule(
        verbs=frozenset(rule.get("verbs") or ()),
        groups=frozenset(rule.get("apiGroups") or ()),
        resources=frozenset(rule.get("resources") or ()),
        names=frozenset(rule.get("resourceNames") or ()),
        paths=tuple(rule.get("nonResourceURLs") or ()),
        source=rule,
    )


def resource_matches(resources: frozenset[str], resource: str, subresource: str) -> bool:
    """`*` is every resource and subresource, `pods/log` that one, `*/scale` the subresource of any."""
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def path_matches(patterns: Sequence[str], path: str) -> bool:
    """A pattern is a path, `*`, or a prefix that ends with `*`."""
    for pattern in patterns:
        if pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))):
            return True
    return False


def missing(held: Sequence[Rule], wanted: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """The single permissions of `wanted` that no rule of `held` covers."""
    return [part for rule in wanted or () for part in _parts(rule) if not any(_covers(r, part) for r in held)]


def _parts(rule: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                yield from ({**part, "resourceNames": [name]} for name in names)
                if not names:
                    yield part
    for path in rule.get("nonResourceURLs") or ():
        yield from ({"nonResourceURLs": [path], "verbs": [verb]} for verb in verbs)


def _covers(held: Rule, part: Mapping[str, Any]) -> bool:
    verb = part["verbs"][0]
    if verb not in held.verbs and ALL not in held.verbs:
        return False
    if "nonResourceURLs" in part:
        path = part["nonResourceURLs"][0]
        return any(
            own in (path, ALL) or (own.endswith(ALL) and path.startswith(own.rstrip(ALL)))
            for own in held.paths
        )
    group, resource = part["apiGroups"][0], part["resources"][0]
    name, _, subresource = resource.partition("/")
    names = part.get("resourceNames")
    return (
        (group in held.groups or ALL in held.groups)
        and (resource in held.resources or resource_matches(held.resources, name, subresource))
        and (not held.names or (names is not None and names[0] in held.names))
    )


def compact(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Single permissions as an error message shows them: verbs of the same target joined, sorted."""
    verbs_of: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for part in parts:
        key = repr([part.get(k) for k in ("apiGroups", "resources", "resourceNames", "nonResourceURLs")])
        _, verbs = verbs_of.setdefault(key, (part, []))
        verbs += [v for v in part["verbs"] if v not in verbs]
    return sorted(_shown({**part, "verbs": verbs}) for part, verbs in verbs_of.values())


def _shown(rule: Mapping[str, Any]) -> str:
    """The short Go notation of a rule: {APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}."""
    fields = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    shown = (f"{label}:{_quoted(rule[key])}" for label, key in fields if rule.get(key))
    return "{" + ", ".join(shown) + "}"


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
