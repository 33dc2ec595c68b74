"""matchLabelKeys and mismatchLabelKeys: a new pod's own label values become part of its selectors.

The scheduler then needs no other rule for them, and whoever reads the pod sees what is compared. A term
without a selector is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.api.objects import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def merge_label_keys(pod: Object) -> None:
    """Changes the pod, a private copy."""
    labels = pod["metadata"].get("labels") or {}
    for term in _terms(pod["spec"]):
        _add(term, "matchLabelKeys", "In", labels)
        _add(term, "mismatchLabelKeys", "NotIn", labels)


def _terms(spec: Mapping[str, Any]) -> Iterator[Object]:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        yield from found.get(_REQUIRED) or ()
        for preference in found.get(_PREFERRED) or ():
            yield preference["podAffinityTerm"]
    yield from spec.get("topologySpreadConstraints") or ()


def _add(term: Object, field: str, operator: str, labels: Mapping[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for key in term.get(field) or ()
        if key in labels
    ]
    if added:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]
