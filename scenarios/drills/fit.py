"""Arithmetic on what workloads ask for: how many pods may be missing, how much a node carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse


def least_available(deployment: Object) -> int:
    """replicas − maxUnavailable; percentages of it are rounded down."""
    spec = deployment["spec"]
    if spec["strategy"]["type"] == "Recreate":
        return 0
    replicas: int = spec["replicas"]
    rolling = spec["strategy"]["rollingUpdate"]
    unavailable = _of(rolling["maxUnavailable"], replicas, up=False)
    surge = _of(rolling["maxSurge"], replicas, up=True)
    if unavailable == 0 and surge == 0:
        unavailable = 1
    return replicas - unavailable


def _of(amount: Any, whole: int, *, up: bool) -> int:
    if isinstance(amount, int):
        return amount
    share = int(amount.rstrip("%")) * whole
    return -(-share // 100) if up else share // 100


def requested(pods: Iterable[Object], resource: str) -> Quantity:
    total = Quantity.of(0)
    for pod in pods:
        for container in pod["spec"]["containers"]:
            total += parse(container.get("resources", {}).get("requests", {}).get(resource, "0"))
    return total


def allocatable(node: Object, resource: str) -> Quantity:
    return parse(node["status"]["allocatable"][resource])
