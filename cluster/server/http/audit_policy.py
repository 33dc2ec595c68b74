"""What of a request goes into the audit log: the levels, and the rules of an audit.k8s.io/v1 Policy.

The first rule that fits a request decides; one that no rule fits is not logged. A rule with resources or
namespaces fits requests for resources only, one with nonResourceURLs the others; empty lists fit everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from cluster.server.auth.attributes import Attributes

API_VERSION = "audit.k8s.io/v1"
RECEIVED, COMPLETE = "RequestReceived", "ResponseComplete"
_STAGES = (RECEIVED, "ResponseStarted", COMPLETE, "Panic")
_FIELDS = (
    "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
    "omitManagedFields",
)  # fmt: skip


class Level(IntEnum):
    NONE = 0
    METADATA = 1
    REQUEST = 2
    RESPONSE = 3


_LEVELS = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.RESPONSE,
}
NAMES = {level: name for name, level in _LEVELS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    level: Level
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    resources: tuple[Mapping[str, Any], ...] = ()
    namespaces: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    omitted: frozenset[str] = frozenset()
    """Stages that are not logged."""
    omit_managed_fields: bool = False

    def fits(self, asked: Attributes) -> bool:
        user = asked.user
        if self.users and user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(user.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.resources or self.namespaces:
            return bool(asked.resource) and self._fits_resource(asked)
        if self.paths:
            return not asked.resource and any(_is_path(path, asked.path) for path in self.paths)
        return True

    def _fits_resource(self, asked: Attributes) -> bool:
        if self.namespaces and asked.namespace not in self.namespaces:
            return False
        return not self.resources or any(_is_resource(one, asked) for one in self.resources)


def _is_resource(wanted: Mapping[str, Any], asked: Attributes) -> bool:
    if wanted.get("group", "") != asked.group:
        return False
    named = wanted.get("resourceNames") or ()
    if named and asked.name not in named:
        return False
    kinds = wanted.get("resources") or ("*",)
    subresource = asked.subresource
    return any(
        kind in ("*", asked.combined)
        or bool(subresource and kind in (f"{asked.resource}/*", f"*/{subresource}"))
        for kind in kinds
    )


def _is_path(wanted: str, path: str) -> bool:
    return wanted in ("*", path) or (wanted.endswith("*") and path.startswith(wanted[:-1]))


EVERYTHING: tuple[Rule, ...] = (Rule(level=Level.METADATA),)
"""Without a policy: who did what to which object, and how it ended."""


def rule_of(rules: Sequence[Rule], asked: Attributes) -> Rule | None:
    """The rule that decides; None where nothing is to be logged."""
    for rule in rules:
        if rule.fits(asked):
            return rule if rule.level else None
    return None


def read(document: Any) -> tuple[Rule, ...]:
    """The rules of a Policy. Raises ValueError that says what is wrong with it."""
    if not isinstance(document, dict) or document.get("kind") != "Policy":
        raise ValueError("it is no Policy of audit.k8s.io")
    if document.get("apiVersion") != API_VERSION:
        raise ValueError(f"apiVersion is {document.get('apiVersion')!r} instead of {API_VERSION!r}")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise ValueError("it has no rules")
    omitted = _stages(document.get("omitStages"), "omitStages")
    without = bool(document.get("omitManagedFields"))
    return tuple(_rule(rule, f"rules[{index}]", omitted, without) for index, rule in enumerate(rules))


def _rule(rule: Any, where: str, omitted: frozenset[str], without_managed: bool) -> Rule:
    if not isinstance(rule, dict):
        raise ValueError(f"{where} is no object")
    if unknown := [name for name in rule if name not in _FIELDS]:
        raise ValueError(f"{where} has unknown fields: {', '.join(unknown)}")
    if rule.get("level") not in _LEVELS:
        raise ValueError(f"{where}.level is {rule.get('level')!r}, none of {', '.join(_LEVELS)}")
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        raise ValueError(f"{where} speaks of resources and of other URLs at once")
    return Rule(
        level=_LEVELS[rule["level"]],
        users=frozenset(rule.get("users") or ()),
        groups=frozenset(rule.get("userGroups") or ()),
        verbs=frozenset(rule.get("verbs") or ()),
        resources=tuple(rule.get("resources") or ()),
        namespaces=frozenset(rule.get("namespaces") or ()),
        paths=tuple(rule.get("nonResourceURLs") or ()),
        omitted=omitted | _stages(rule.get("omitStages"), f"{where}.omitStages"),
        omit_managed_fields=bool(rule.get("omitManagedFields", without_managed)),
    )


def _stages(stages: Any, where: str) -> frozenset[str]:
    if wrong := [stage for stage in stages or () if stage not in _STAGES]:
        raise ValueError(f"{where}: {wrong[0]!r} is none of {', '.join(_STAGES)}")
    return frozenset(stages or ())
