"""A node that runs short of memory or disk: when it does, and which pod has to go, as the kubelet's eviction
manager decides.

Only figures that somebody asked for count (behaviour annotations, real processes): the shipped profiles are
typical ones, and a hundred of them on a small emulated node are no reason to evict. Divergence: processes are
not counted, so there is no PIDPressure; a full file system of images or inodes is not emulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse

TRANSITION_S = 300.0
"""How long the condition stays after the pressure is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What may run short, with the kubelet's hard threshold."""

    resource: str
    condition: str
    capacity: int
    threshold: Quantity


def memory_signal(capacity: int) -> Signal:
    return Signal(resource="memory", condition="MemoryPressure", capacity=capacity, threshold=parse("100Mi"))


def disk_signal(capacity: int) -> Signal:
    return Signal(
        resource="ephemeral-storage",
        condition="DiskPressure",
        capacity=capacity,
        threshold=Quantity.of(capacity // 10),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    pod: Object
    containers: Mapping[str, int]
    """Bytes in use."""

    @property
    def used(self) -> int:
        return sum(self.containers.values())


def requested(pod: Object, resource: str) -> dict[str, int]:
    """Requests by container."""
    found = {}
    for container in pod["spec"]["containers"]:
        amount = ((container.get("resources") or {}).get("requests") or {}).get(resource)
        found[container["name"]] = parse(amount).value() if amount else 0
    return found


def victim(signal: Signal, consumers: Sequence[Consumer]) -> tuple[Consumer, str] | None:
    """Whom to evict and why; None without pressure. First who uses more than was requested, then the least
    important, then who exceeds its request the most."""
    available = signal.capacity - sum(consumer.used for consumer in consumers)
    if available >= signal.threshold.value() or not consumers:
        return None

    def rank(consumer: Consumer) -> tuple[bool, int, int]:
        excess = consumer.used - sum(requested(consumer.pod, signal.resource).values())
        return excess <= 0, consumer.pod["spec"].get("priority") or 0, -excess

    chosen = min(consumers, key=rank)
    message = (
        f"The node was low on resource: {signal.resource}. Threshold quantity: {signal.threshold}, "
        f"available: {max(available, 0) // 1024}Ki. "
    )
    requests = requested(chosen.pod, signal.resource)
    for name, used in chosen.containers.items():
        request = requests.get(name, 0)
        if used > request:
            shown = f"{request // 1024}Ki" if request else "0"
            message += (
                f"Container {name} was using {used // 1024}Ki, request is {shown}, "
                f"has larger consumption of {signal.resource}. "
            )
    return chosen, message
