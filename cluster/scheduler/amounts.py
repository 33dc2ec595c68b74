"""Resource amounts as plain integers: CPU in thousandths, everything else in whole units.

What a pod asks for is the larger of its running containers together and each step of its initialisation;
native sidecars (init containers that restart always) count from their start on; overhead is on top. Pod
level resources, where given, replace the sum. While a pod is resized, a container counts with the most of
what it asks for, has been given and has; of a wish that its node can't fulfil nothing counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from cluster.api.objects import Object
from cluster.api.quantity import parse

Amounts: TypeAlias = dict[str, int]

_RESIZES = ("PodResizePending", "PodResizeInProgress")
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
    held = _held(pod) if resizing(pod) else None
    if held is None:
        return _total(pod, lambda container: amounts(container.get("resources", {}).get("requests")))
    infeasible = any(condition.get("reason") == "Infeasible" for condition in resizing(pod))

    def requests_of(container: Object) -> Amounts:
        found = dict(held.get(container["name"], {}))
        if not infeasible or not found:
            _raise_to(found, amounts(container.get("resources", {}).get("requests")))
        return found

    return _total(pod, requests_of)


def resizing(pod: Object) -> list[Object]:
    """The conditions that tell of a resize under way or waiting."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return [condition for condition in conditions if condition["type"] in _RESIZES]


def _held(pod: Object) -> dict[str, Amounts]:
    """By container: what the node gave it, and what it runs with."""
    found: dict[str, Amounts] = {}
    status = pod["status"]
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(field) or ():
            held = found[entry["name"]] = amounts(entry.get("allocatedResources"))
            _raise_to(held, amounts((entry.get("resources") or {}).get("requests")))
    return found


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
