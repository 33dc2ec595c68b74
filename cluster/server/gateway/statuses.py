"""Pod statuses on their way from agents into the store.

What is due is kept per pod, newest report wins; a write merges it into the pod as it is then, so that a
concurrent change of the spec is untouched and a lost race is simply run again. A report counts as done
once durable, also where nothing had to be written. `status=None` removes a pod for good that was being
deleted, after its last status was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from cluster.api.client import ApiClient
from cluster.api.errors import ApiError, Conflict, NotFound
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object
from cluster.api.wire import PodReport
from cluster.server.gateway import merging
from cluster.server.gateway.pool import Pool, Rank
from cluster.store.store import Store


@dataclass(slots=True, kw_only=True)
class _Due:
    node: str
    key: Key
    status: Object | None = None
    gone: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)


class StatusWriter:
    def __init__(self, store: Store, client: ApiClient, pool: Pool, log: FilteringBoundLogger) -> None:
        self._store = store
        self._client = client
        self._pool = pool
        self._log = log
        self._due: dict[str, _Due] = {}

    def report(self, node: str, report: PodReport, stored: Callable[[], None]) -> None:
        """Takes one report in; calls `stored` once it is durable, or found to be moot."""
        due = self._due.get(report.uid)
        if due is None:
            due = self._due[report.uid] = _Due(node=node, key=Key(report.namespace, report.name))
        due.node = node
        if report.status is None:
            due.gone = True
        else:
            due.status, due.gone = report.status, False
        due.waiting.append(stored)
        self._pool.mark(("pod", report.uid), lambda: self._settle(report.uid), Rank.STATE)

    async def _settle(self, uid: str) -> None:
        due = self._due.pop(uid)
        try:
            await self._write(uid, due)
        except ApiError as error:
            self._log.warning("pod status refused", node=due.node, pod=str(due.key), error=str(error))
        for stored in due.waiting:
            stored()

    async def _write(self, uid: str, due: _Due) -> None:
        while True:
            entry = self._store.get("pods", due.key)
            if entry is None or entry.object["metadata"]["uid"] != uid:
                return
            if entry.object["spec"].get("nodeName") != due.node:
                self._log.warning("status of a pod of another node", node=due.node, pod=str(due.key))
                return
            try:
                if due.status is not None:
                    merged = merging.pod_status(entry.object.get("status", {}), due.status)
                    if merged is None:
                        await self._store.durable(entry.revision)
                    else:
                        body = {**entry.object, "status": merged}
                        await self._client.update(PODS, body, subresource="status")
                if due.gone and "deletionTimestamp" in entry.object["metadata"]:
                    await self._remove(uid, due.key)
                return
            except Conflict:
                continue
            except NotFound:
                return

    async def _remove(self, uid: str, key: Key) -> None:
        await self._client.delete(PODS, key.name, namespace=key.namespace, uid=uid, grace_period_s=0)
