"""Node selectors and required node affinity: parsed once per pod, then only asked. The scheduler places by
them, and a node admits by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cluster.api.selectors import Requirement

NodeTest = Callable[[Mapping[str, str], str], bool]
"""(labels, node name) → matches."""

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


def node_selector_term(term: Mapping[str, Any]) -> NodeTest | None:
    """A term of a NodeSelector; None for an empty one, which matches nothing."""
    labels = [_requirement(e) for e in term.get("matchExpressions") or ()]
    fields = [_requirement(e) for e in term.get("matchFields") or ()]
    if not labels and not fields:
        return None

    def test(found: Mapping[str, str], name: str) -> bool:
        return all(r.test(found) for r in labels) and all(r.test({"metadata.name": name}) for r in fields)

    return test


def node_selector(selector: Mapping[str, Any] | None) -> NodeTest:
    """A NodeSelector: its terms are alternatives. None of them: nothing matches."""
    terms = [node_selector_term(t) for t in (selector or {}).get("nodeSelectorTerms") or ()]
    tests = [t for t in terms if t is not None]
    return lambda labels, name: any(test(labels, name) for test in tests)


def required_node(spec: Mapping[str, Any]) -> NodeTest | None:
    """nodeSelector and required node affinity together; None where the pod has neither."""
    wanted = spec.get("nodeSelector") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not wanted and required is None:
        return None
    pairs = tuple(wanted.items())
    test = node_selector(required) if required is not None else None

    def check(labels: Mapping[str, str], name: str) -> bool:
        return all(labels.get(key) == value for key, value in pairs) and (test is None or test(labels, name))

    return check


def _requirement(expression: Mapping[str, Any]) -> Requirement:
    values = tuple(sorted(expression.get("values") or ()))
    return Requirement(expression["key"], _OPERATORS[expression["operator"]], values)
