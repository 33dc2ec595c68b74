"""Type-checks a policy's expressions against the kinds it names; the findings are warnings in its status.

Rules with wildcards name no kind and are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.api import facts
from cluster.api.cel import CompileError, compile_rule
from cluster.api.cel.kinds import DYN, Kind, kind_of
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.api.validation.policies import VARIABLES

KINDS_LIMIT = 10
"""How many kinds are looked at."""


def status_of(registry: Registry, policy: Object) -> Object:
    """The status that a policy should have."""
    warnings = [
        {"fieldRef": path, "warning": found}
        for path, expression in _expressions(policy["spec"])
        if (found := _warning(registry, policy["spec"], expression))
    ]
    checking = {"expressionWarnings": warnings} if warnings else {}
    return {
        **(policy.get("status") or {}),
        "observedGeneration": policy["metadata"].get("generation", 1),
        "typeChecking": checking,
    }


def _expressions(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for index, validation in enumerate(spec.get("validations") or ()):
        yield f"spec.validations[{index}].expression", validation["expression"]
        if text := validation.get("messageExpression"):
            yield f"spec.validations[{index}].messageExpression", text


def _warning(registry: Registry, spec: Mapping[str, Any], expression: str) -> str:
    found = []
    for resource in _kinds(registry, spec):
        kind = _kind(registry, resource)
        types = dict.fromkeys(VARIABLES, DYN) | {"object": kind, "oldObject": kind}
        try:
            compile_rule(expression, types)
        except CompileError as error:
            found.append(f"{resource.api_version}, Kind={resource.kind}: {error}")
    return "\n".join(found)


def _kind(registry: Registry, resource: Resource) -> Kind:
    custom = registry.custom_of(resource)
    return kind_of(facts.of(resource) if custom is None else custom.type)


def _kinds(registry: Registry, spec: Mapping[str, Any]) -> list[Resource]:
    found: dict[Resource, None] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        for group in rule.get("apiGroups") or ():
            for version in rule.get("apiVersions") or ():
                for plural in rule.get("resources") or ():
                    resource = registry.find(group, version, plural)
                    if resource is not None:
                        found[resource] = None
    return list(found)[:KINDS_LIMIT]
