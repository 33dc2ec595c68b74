"""Memory pressure of a node: when it is, and which pod has to go, as the kubelet's eviction manager decides.

Only figures that somebody asked for count (behaviour annotations, real processes): the shipped profiles are
typical ones, and a hundred of them on a small emulated node are no reason to evict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.api.objects import Object
from cluster.api.quantity import parse

THRESHOLD = "100Mi"
TRANSITION_S = 300.0
"""How long the condition stays after the pressure is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    pod: Object
    containers: Mapping[str, int]
    """Bytes in use."""

    @property
    def used(self) -> int:
        return sum(self.containers.values())


def requested(pod: Object) -> dict[str, int]:
    """Memory requests by container."""
    found = {}
    for container in pod["spec"]["containers"]:
        amount = ((container.get("resources") or {}).get("requests") or {}).get("memory")
        found[container["name"]] = parse(amount).value() if amount else 0
    return found


def victim(capacity: int, consumers: Sequence[Consumer]) -> tuple[Consumer, str] | None:
    """Whom to evict and why; None without pressure. First who uses more than was requested, then the least
    important, then who exceeds its request the most."""
    available = capacity - sum(consumer.used for consumer in consumers)
    threshold = parse(THRESHOLD).value()
    if available >= threshold or not consumers:
        return None

    def rank(consumer: Consumer) -> tuple[bool, int, int]:
        excess = consumer.used - sum(requested(consumer.pod).values())
        return excess <= 0, consumer.pod["spec"].get("priority") or 0, -excess

    chosen = min(consumers, key=rank)
    message = (
        f"The node was low on resource: memory. Threshold quantity: {THRESHOLD}, "
        f"available: {max(available, 0) // 1024}Ki. "
    )
    requests = requested(chosen.pod)
    for name, used in chosen.containers.items():
        request = requests.get(name, 0)
        if used > request:
            shown = f"{request // 1024}Ki" if request else "0"
            message += (
                f"Container {name} was using {used // 1024}Ki, request is {shown}, "
                "has larger consumption of memory. "
            )
    return chosen, message
