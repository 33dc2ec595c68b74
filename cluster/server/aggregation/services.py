"""APIService objects: one per served group version, as Kubernetes' aggregator keeps them.

Those of built-in and custom kinds are made here, are always Available, and come back when deleted. One that
names a Service is checked when anything about it changes, and every half a minute; one whose server does not
answer is asked again sooner, less and less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker.clock import Clock
from broker.supervision import Tasks
from cluster.api.client import ApiClient
from cluster.api.errors import ApiError
from cluster.api.kinds import API_SERVICES
from cluster.api.objects import Key, Object, timestamp
from cluster.api.registry import Registry
from cluster.server.aggregation.backends import Backend, Backends
from cluster.server.aggregation.checking import LOCAL, Verdict, check, facts_of
from cluster.store.entry import Change
from cluster.store.store import Store

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
_QUALIFIED = API_SERVICES.qualified
_LOCAL = frozenset((_QUALIFIED,))
_WITH_SERVICES = frozenset((_QUALIFIED, "services", "endpointslices.discovery.k8s.io"))
"""What is looked at while some APIService names a Service."""
_GROUPS = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "storagemigration.k8s.io": 15500,
}  # fmt: skip
"""groupPriorityMinimum."""
_VERSIONS = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}
_VERSION, _CUSTOM_GROUP, _CUSTOM_VERSION = 15, 1000, 100
_SELF = "apiregistration.k8s.io"
RECHECK_S = 30.0
FIRST_RETRY_S = 0.1


class ApiServices:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        client: ApiClient,
        backends: Backends,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._registry = registry
        self._client = client
        self._backends = backends
        self._checks: dict[str, tuple[Any, asyncio.Task[None]]] = {}
        """Of remote APIs, by name: what the check began with, and the check."""
        self._clock = clock
        self._log = log
        self._followed = _LOCAL
        self._due = asyncio.Event()
        self._tasks = Tasks()
        self._unsubscribe = store.subscribe(self._changed)

    def start(self) -> None:
        self._due.set()
        self._tasks.start("api-services", self._run())

    async def stop(self) -> None:
        self._unsubscribe()
        await self._tasks.close()
        await self._backends.close()

    async def failed(self) -> None:
        await self._tasks.failed()

    def kinds_changed(self) -> None:
        """Other group versions may be served now."""
        self._due.set()

    def _changed(self, batch: Sequence[Change]) -> None:
        followed = self._followed
        for change in batch:
            if change.entry.qualified in followed:
                self._backends.refresh()
                self._due.set()
                return

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._settle()
            except ApiError as error:
                self._log.info("API services not settled", error=error.message)

    async def _settle(self) -> None:
        wanted = self._wanted()
        for name, body in wanted.items():
            if self._store.get(_QUALIFIED, Key("", name)) is None:
                await self._client.create(API_SERVICES, body)
        entries = list(self._store.list(_QUALIFIED))
        self._backends.refresh()
        backends = {backend.name: backend for backend in self._backends.table.values()}
        self._followed = _WITH_SERVICES if backends else _LOCAL
        for entry in entries:
            labels = entry.object["metadata"].get("labels") or {}
            if entry.key.name in backends:
                continue
            if MANAGED in labels and entry.key.name not in wanted:
                await self._client.delete(API_SERVICES, entry.key.name)
            else:
                await self._note(entry.object, LOCAL)
        for name in [name for name in self._checks if name not in backends]:
            self._checks.pop(name)[1].cancel()
        for name, backend in backends.items():
            self._check_from_now(name, backend)

    def _check_from_now(self, name: str, backend: Backend) -> None:
        """Anew, if anything that is looked at has changed."""
        seen = facts_of(self._store, backend)
        if (known := self._checks.get(name)) is not None:
            if known[0] == seen:
                return
            known[1].cancel()
        self._checks[name] = (seen, self._tasks.start(f"check-{name}", self._keep_checking(name, backend)))

    async def _keep_checking(self, name: str, backend: Backend) -> None:
        """Until the next change, or until the APIService is gone."""
        retry_s = FIRST_RETRY_S
        while True:
            verdict = await check(self._store, self._backends, backend)
            entry = self._store.get(_QUALIFIED, Key("", name))
            if entry is None:
                return
            try:
                await self._note(entry.object, verdict)
            except ApiError as error:
                self._log.info("availability not written", api_service=name, error=error.message)
            if verdict.retry:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RECHECK_S)
            else:
                await asyncio.sleep(RECHECK_S)
                retry_s = FIRST_RETRY_S

    def _wanted(self) -> dict[str, Object]:
        found: dict[str, Object] = {}
        for resource in self._registry.all():
            group, version = resource.group, resource.version
            name = f"{version}.{group}"
            if group == _SELF or name in found:
                continue
            custom = self._registry.custom_of(resource) is not None
            found[name] = {
                "metadata": {"name": name, "labels": {MANAGED: "true" if custom else "onstart"}},
                "spec": {
                    "group": group,
                    "version": version,
                    "groupPriorityMinimum": _GROUPS.get(group, _CUSTOM_GROUP),
                    "versionPriority": _CUSTOM_VERSION
                    if custom
                    else _VERSIONS.get((group, version), _VERSION),
                },
            }
        return found

    async def _note(self, found: Object, verdict: Verdict) -> None:
        """Writes the Available condition if it is another one now."""
        status, reason, message = verdict.status, verdict.reason, verdict.message
        conditions: list[Object] = (found.get("status") or {}).get("conditions") or []
        present = next((c for c in conditions if c["type"] == "Available"), None)
        if present is not None and (present["status"], present["reason"], present["message"]) == (
            status, reason, message,
        ):  # fmt: skip
            return
        since = timestamp(self._clock.now())
        if present is not None and present["status"] == status:
            since = present["lastTransitionTime"]
        available: dict[str, Any] = {
            "type": "Available", "status": status, "lastTransitionTime": since, "reason": reason,
            "message": message,
        }  # fmt: skip
        others = [c for c in conditions if c["type"] != "Available"]
        body = {**found, "metadata": dict(found["metadata"]), "status": {"conditions": [*others, available]}}
        await self._client.update(API_SERVICES, body, subresource="status")
