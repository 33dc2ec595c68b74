"""What nodes and pods use, from the agents' heartbeats: metrics.k8s.io, and the autoscaler's figures.

In Kubernetes an add-on (metrics-server) scrapes the kubelets and serves these objects through an APIService.
Here each agent sends its usage along with a heartbeat, the gateway keeps the newest, and the objects are
made when somebody asks. Nothing is stored, so they have neither a uid nor a resourceVersion of their own.

Divergence: the window is the agents' period of telling; the figures are what the behaviour profile says at
its end, no average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from cluster.api.kinds import NODE_METRICS, POD_METRICS
from cluster.api.objects import Key, Object, timestamp
from cluster.api.quantity import Format, Quantity
from cluster.reconcile.metrics import NoMetrics, PodUsage
from cluster.store.entry import Entry
from cluster.store.store import Store

WINDOW_S = 5.0
"""How often agents tell."""
_KIBIBYTE = 1024

Told = Mapping[str, Mapping[str, Any]]
"""Per node: {"at": datetime, "node": {"cpu", "memory"}, "pods": {uid: {container: {"cpu", "memory"}}}}."""


class Usage(NoMetrics):
    """Implements `cluster.reconcile.metrics.Metrics` for resource metrics; others come from adapters
    (`aggregation.custom_metrics`)."""

    def __init__(self, store: Store, told: Callable[[], Told]) -> None:
        self._store = store
        self._told = told

    async def pods(self, namespace: str) -> Sequence[PodUsage]:
        return [
            PodUsage(
                namespace=pod.key.namespace,
                name=pod.key.name,
                at=at,
                window_s=WINDOW_S,
                containers={
                    name: {resource: Fraction(amount) for resource, amount in used.items()}
                    for name, used in containers.items()
                },
            )
            for pod, at, containers in self._pods(namespace)
        ]

    def node_objects(self, namespace: str) -> list[Object]:
        """NodeMetrics, in order of name."""
        made = []
        for name, told in sorted(self._told().items()):
            entry = self._store.get("nodes", Key("", name))
            if entry is not None:
                head = _head(NODE_METRICS.api_version, "NodeMetrics", entry, told["at"])
                made.append({**head, "usage": _amounts(told["node"])})
        return made

    def pod_objects(self, namespace: str) -> list[Object]:
        """PodMetrics of the pods that run, in order of namespace and name."""
        return [
            {
                **_head(POD_METRICS.api_version, "PodMetrics", pod, at),
                "containers": [
                    {"name": name, "usage": _amounts(used)} for name, used in sorted(containers.items())
                ],
            }
            for pod, at, containers in sorted(self._pods(namespace), key=lambda found: found[0].key)
        ]

    def _pods(self, namespace: str) -> Iterator[tuple[Entry, datetime, Mapping[str, Any]]]:
        for node, told in self._told().items():
            used = told["pods"]
            for pod in self._store.by_index("pods", "node", node):
                containers = used.get(pod.uid)
                if containers and (not namespace or pod.key.namespace == namespace):
                    yield pod, told["at"], containers


def _head(api_version: str, kind: str, measured: Entry, at: datetime) -> Object:
    metadata: Object = {"name": measured.key.name, "creationTimestamp": timestamp(at)}
    if measured.key.namespace:
        metadata["namespace"] = measured.key.namespace
    if labels := measured.object["metadata"].get("labels"):
        metadata["labels"] = labels
    return {
        "kind": kind,
        "apiVersion": api_version,
        "metadata": metadata,
        "timestamp": timestamp(at),
        "window": f"{WINDOW_S:g}s",
    }


def _amounts(used: Mapping[str, float]) -> Object:
    """CPU in millicores and memory in whole kibibytes, as quantities."""
    memory = int(used["memory"]) // _KIBIBYTE * _KIBIBYTE
    return {
        "cpu": str(Quantity.of_milli(round(used["cpu"] * 1000))),
        "memory": str(Quantity.of(memory, Format.BINARY)),
    }
