"""Where resource usage and custom metrics come from, as the autoscaler sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from cluster.api.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """What one pod used, per container, at the end of a window."""

    namespace: str
    name: str
    at: datetime
    window_s: float
    containers: Mapping[str, Mapping[str, Fraction]]
    """container → resource ("cpu" in cores, "memory" in bytes) → usage."""


class Metrics(Protocol):
    """The metrics APIs: metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io."""

    async def pods(self, namespace: str) -> Sequence[PodUsage]:
        """Usage of the pods that have any; empty where none is known."""

    async def pod_metric(self, namespace: str, metric: str, selector: str) -> Mapping[str, Fraction]:
        """A custom metric per pod name. `selector` is the metric's own. Raises ApiError if not served."""

    async def object_metric(
        self, namespace: str, described: Mapping[str, Any], metric: str, selector: str
    ) -> Fraction:
        """A custom metric of one object. Raises ApiError if not served."""

    async def external_metric(self, namespace: str, metric: str, selector: str) -> Sequence[Fraction]:
        """The values of an external metric. Raises ApiError if not served."""


class NoMetrics:
    """A cluster without any metrics API."""

    async def pods(self, namespace: str) -> Sequence[PodUsage]:
        raise _absent("metrics.k8s.io")

    async def pod_metric(self, namespace: str, metric: str, selector: str) -> Mapping[str, Fraction]:
        raise _absent("custom.metrics.k8s.io")

    async def object_metric(
        self, namespace: str, described: Mapping[str, Any], metric: str, selector: str
    ) -> Fraction:
        raise _absent("custom.metrics.k8s.io")

    async def external_metric(self, namespace: str, metric: str, selector: str) -> Sequence[Fraction]:
        raise _absent("external.metrics.k8s.io")


def _absent(group: str) -> NotFound:
    return NotFound("the server could not find the requested resource", details={"group": group})
