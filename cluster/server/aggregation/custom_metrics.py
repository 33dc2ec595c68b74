"""The autoscaler's custom and external metrics, asked of the servers that APIServices name for them.

custom.metrics.k8s.io and external.metrics.k8s.io are nobody's but theirs: an adapter of yours serves them, as
in Kubernetes. The pods' own usage comes from the agents. Without an APIService the answer is a 404, with one
whose server can't be reached a 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from cluster.api.errors import ApiError, NotFound, ServiceUnavailable
from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.registry import Registry
from cluster.reconcile.metrics import Metrics, PodUsage
from cluster.server.aggregation.backends import Backends
from cluster.server.call import User
from cluster.server.webhooks.reach import Unreachable

CUSTOM, EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
VERSIONS = {CUSTOM: ("v1beta2", "v1beta1"), EXTERNAL: ("v1beta1",)}
"""Newest first."""
ANSWER_WITHIN_S = 10.0
_ABSENT = "the server could not find the requested resource"
_UNABLE = "the server is currently unable to handle the request"
_ASKER = User(
    name="system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    groups=("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"),
)


class Ask(Protocol):
    async def __call__(self, group: str, path: str, query: Mapping[str, str]) -> Any:
        """The document at this path under the group's root. Raises ApiError."""


class CustomMetrics:
    """Implements `cluster.reconcile.metrics.Metrics`."""

    def __init__(self, usage: Metrics, registry: Registry, ask: Ask) -> None:
        self._usage = usage
        self._registry = registry
        self._ask = ask

    async def pods(self, namespace: str) -> Sequence[PodUsage]:
        return await self._usage.pods(namespace)

    async def pod_metric(self, namespace: str, metric: str, selector: str) -> Mapping[str, Fraction]:
        path = f"/namespaces/{namespace}/pods/*/{quote(metric)}"
        found = await self._ask(CUSTOM, path, _query("metricLabelSelector", selector))
        return {item["describedObject"]["name"]: _amount(item) for item in _items(found)}

    async def object_metric(
        self, namespace: str, described: Mapping[str, Any], metric: str, selector: str
    ) -> Fraction:
        path = f"{self._place(namespace, described)}/{quote(metric)}"
        items = _items(await self._ask(CUSTOM, path, _query("metricLabelSelector", selector)))
        if len(items) != 1:
            raise ServiceUnavailable(f"the custom metrics API server returned {len(items)} results, wanted 1")
        return _amount(items[0])

    async def external_metric(self, namespace: str, metric: str, selector: str) -> Sequence[Fraction]:
        path = f"/namespaces/{namespace}/{quote(metric)}"
        return [
            _amount(item)
            for item in _items(await self._ask(EXTERNAL, path, _query("labelSelector", selector)))
        ]

    def _place(self, namespace: str, described: Mapping[str, Any]) -> str:
        name = quote(described["name"])
        if described["kind"] == "Namespace":
            return f"/namespaces/{name}/metrics"
        resource = self._registry.of_kind(described.get("apiVersion") or "v1", described["kind"])
        if resource is None:
            raise NotFound(f'no matches for kind "{described["kind"]}"')
        place = f"{resource.qualified}/{name}"
        return f"/namespaces/{namespace}/{place}" if resource.namespaced else f"/{place}"


def _query(name: str, selector: str) -> dict[str, str]:
    return {name: selector} if selector else {}


def _items(found: Any) -> list[Object]:
    items = found.get("items") if isinstance(found, dict) else None
    return [item for item in items or () if isinstance(item, dict)]


def _amount(item: Object) -> Fraction:
    return Fraction(parse(item["value"]).milli(), 1000)


def asking(backends: Backends) -> Ask:
    """Asks the server of the newest version of a group that there is one for."""

    async def ask(group: str, path: str, query: Mapping[str, str]) -> Any:
        known = (backends.table.get((group, version)) for version in VERSIONS[group])
        backend = next((each for each in known if each is not None), None)
        if backend is None:
            raise NotFound(_ABSENT, details={"group": group})
        try:
            target = f"{backend.root}{path}{'?' if query else ''}{urlencode(query)}"
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                backends.get(backend, target, _ASKER) as response,
            ):
                return _read(response.status, await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError, Unreachable):
            raise ServiceUnavailable(_UNABLE) from None

    return ask


def _read(status: int, text: bytes) -> Any:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if 200 <= status < 300 and document is not None:
        return document
    if isinstance(document, dict) and document.get("kind") == "Status":
        raise ApiError(document.get("message", ""))
    raise NotFound(_ABSENT) if status == 404 else ServiceUnavailable(_UNABLE)
