"""Whether an aggregated API can be used: is its Service there, has it endpoints, does its server answer?

Divergence: the server is asked once a round, where Kubernetes asks five times at once and takes the first
success.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from cluster.api.objects import Key, Object
from cluster.server.aggregation.backends import Backend, Backends
from cluster.server.call import User
from cluster.server.webhooks.failures import said
from cluster.server.webhooks.reach import Unreachable
from cluster.store.entry import Entry
from cluster.store.store import Store

CHECK_WITHIN_S = 5.0
_AGGREGATOR = User(name="system:kube-aggregator", groups=("system:masters",))
_SLICES = "endpointslices.discovery.k8s.io"


@dataclass(frozen=True, slots=True)
class Verdict:
    status: str
    reason: str
    message: str
    retry: bool = False
    """Only asking again can tell that it is better."""


LOCAL = Verdict("True", "Local", "Local APIServices are always available")
_PASSED = Verdict("True", "Passed", "all checks passed")


async def check(store: Store, backends: Backends, backend: Backend) -> Verdict:
    service: Object = dict(backend.spec["service"])
    wrong = _service_problem(store, service["namespace"], service["name"], backend.port)
    return wrong or await _discovery_problem(backends, backend) or _PASSED


def facts_of(store: Store, backend: Backend) -> object:
    """What an answer depends on besides the server: another value is a reason to check again at once."""
    service = backend.spec["service"]
    namespace, name = service["namespace"], service["name"]
    entry = store.get("services", Key(namespace, name))
    slices = [(each.key.name, each.revision) for each in _slices(store, namespace, name)]
    return backend.spec, None if entry is None else entry.object["spec"], slices


def _slices(store: Store, namespace: str, name: str) -> list[Entry]:
    return [
        each
        for each in store.list(_SLICES, namespace)
        if (each.object["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
    ]


def _service_problem(store: Store, namespace: str, name: str, port: int) -> Verdict | None:
    shown = f'service/{name} in "{namespace}"'
    entry = store.get("services", Key(namespace, name))
    if entry is None:
        return Verdict("False", "ServiceNotFound", f"{shown} is not present")
    spec = entry.object["spec"]
    if spec.get("type", "ClusterIP") != "ClusterIP":
        return None
    found = next((each for each in spec.get("ports") or () if each["port"] == port), None)
    if found is None:
        return Verdict("False", "ServicePortError", f"{shown} is not listening on port {port}")
    slices = _slices(store, namespace, name)
    if not slices:
        return Verdict("False", "EndpointsNotFound", f"cannot find endpointslices for {shown}")
    port_name = found.get("name", "")
    if not any(_has_address(each.object, port_name) for each in slices):
        why = f'endpointslices for {shown} have no addresses with port name "{port_name}"'
        return Verdict("False", "MissingEndpoints", why)
    return None


def _has_address(obj: Object, port_name: str) -> bool:
    ready = any((e.get("conditions") or {}).get("ready", True) for e in obj.get("endpoints") or ())
    return ready and any(p.get("name", "") == port_name and p.get("port") for p in obj.get("ports") or ())


async def _discovery_problem(backends: Backends, backend: Backend) -> Verdict | None:
    url = backends.shown_url(backend)
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            status, found = await _asked(backends, backend, backend.root)
    except TimeoutError:
        why = f'Get "{url}": context deadline exceeded'
    except (aiohttp.ClientError, OSError, Unreachable) as error:
        why = f'Get "{url}": {said(error, backend.server_name)}'
    else:
        if 200 <= status < 300:
            resources = found.get("resources") if isinstance(found, dict) else None
            named = [r for r in resources or () if isinstance(r, dict) and r.get("name")]
            backends.learned(backend, named, await _openapi(backends, backend))
            return None
        why = f"bad status from {url}: {status}"
    return Verdict("False", "FailedDiscoveryCheck", f"failing or missing response from {url}: {why}", True)


async def _openapi(backends: Backends, backend: Backend) -> str:
    """The address of the API's document, if the server's index names one."""
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            _, index = await _asked(backends, backend, "/openapi/v3")
    except (TimeoutError, aiohttp.ClientError, OSError, Unreachable):
        return ""
    paths = index.get("paths") if isinstance(index, dict) else None
    entry = paths.get(backend.root[1:]) if isinstance(paths, dict) else None
    found = entry.get("serverRelativeURL") if isinstance(entry, dict) else ""
    return found if isinstance(found, str) else ""


async def _asked(backends: Backends, backend: Backend, path: str) -> tuple[int, Any]:
    """The answer to a GET: its status, and what it says if that is JSON."""
    async with backends.get(backend, path, _AGGREGATOR) as response:
        text = await response.read()
        try:
            return response.status, orjson.loads(text)
        except orjson.JSONDecodeError:
            return response.status, None
