"""Resource amounts as plain integers: CPU in thousandths, everything else in whole units.

What a pod asks for is the larger of its running containers together and each step of its initialisation;
native sidecars (init containers that restart always) count from their start on; overhead is on top. Pod
level resources, where given, replace the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from cluster.api.objects import Object
from cluster.api.quantity import parse

Amounts: TypeAlias = dict[str, int]

UNSTATED_CPU_MILLI = 100
UNSTATED_MEMORY_BYTES = 200 * 1024 * 1024
"""What scores assume of a container that asks for nothing, so that such pods spread too."""


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    if not quantities:
        return {}
    return {
        name: parse(value).milli() if name == "cpu" else parse(value).value()
        for name, value in quantities.items()
    }


def pod_requests(pod: Object) -> Amounts:
    """What a node must have free for the pod."""
    return _total(pod, lambda container: amounts(container.get("resources", {}).get("requests")))


def pod_requests_for_scores(pod: Object) -> tuple[int, int]:
    """(CPU in thousandths, memory in bytes), with assumptions for what is not stated."""

    def assumed(container: Object) -> Amounts:
        requests = amounts(container.get("resources", {}).get("requests"))
        requests.setdefault("cpu", UNSTATED_CPU_MILLI)
        requests.setdefault("memory", UNSTATED_MEMORY_BYTES)
        return requests

    total = _total(pod, assumed)
    return total.get("cpu", 0), total.get("memory", 0)


def _total(pod: Object, requests_of: Any) -> Amounts:
    spec = pod["spec"]
    running = _sum(requests_of(container) for container in spec["containers"])
    initial: Amounts = {}
    sidecars: Amounts = {}
    for container in spec.get("initContainers", ()):
        asked = requests_of(container)
        if container.get("restartPolicy") == "Always":
            _add(running, asked)
            _add(sidecars, asked)
            step = sidecars
        else:
            step = _sum((asked, sidecars))
        _raise_to(initial, step)
    _raise_to(running, initial)
    running.update(amounts(spec.get("resources", {}).get("requests")))
    if overhead := spec.get("overhead"):
        _add(running, amounts(overhead))
    return running


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        _add(total, part)
    return total


def _add(total: Amounts, part: Amounts) -> None:
    for name, amount in part.items():
        total[name] = total.get(name, 0) + amount


def _raise_to(total: Amounts, part: Amounts) -> None:
    for name, amount in part.items():
        if amount > total.get(name, 0):
            total[name] = amount
