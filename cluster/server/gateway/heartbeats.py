"""Nodes on their way into the store: registration, the Lease, conditions, images.

A heartbeat renews the node's Lease, owned by the Node. The Node's status is written only when a condition
says something new, images changed, or the last write is `node_status_report_s` old. A Node object that an
administrator deleted is not made again by heartbeats, only by the next registration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker.clock import Clock
from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from cluster.api.kinds import LEASES, NODES
from cluster.api.objects import Key, Object, condition_of, micro_timestamp, owner_reference, timestamp
from cluster.api.timings import Timings
from cluster.api.wire import Heartbeat, Register
from cluster.server.gateway import merging, registration
from cluster.server.gateway.pool import Pool, Rank
from cluster.store.store import Store

LEASE_NAMESPACE = "kube-node-lease"


class NodeWriter:
    def __init__(
        self,
        store: Store,
        client: ApiClient,
        pool: Pool,
        *,
        clock: Clock,
        timings: Timings,
        log: FilteringBoundLogger,
        on_ready: Callable[[Object, bool, bool], None],
    ) -> None:
        """`on_ready(node, ready, known)` is called when a heartbeat changed the Ready condition; `known`:
        there was one before."""
        self._store = store
        self._client = client
        self._pool = pool
        self._clock = clock
        self._timings = timings
        self._log = log
        self._on_ready = on_ready
        self._written_at: dict[str, float] = {}
        self._images: dict[str, list[Object]] = {}
        self._addresses: dict[str, list[Object]] = {}

    def register(self, message: Register, done: Callable[[], None]) -> None:
        """Makes the Node object what the agent says it is; calls `done` then."""
        self._addresses.pop(message.node, None)

        async def work() -> None:
            if await self._guard(message.node, self._register(message)):
                done()

        self._pool.mark(("register", message.node), work, Rank.LIFE)

    def beat(self, name: str, heartbeat: Heartbeat) -> None:
        """Renews the lease, and the status where due."""
        if heartbeat.images is not None:
            self._images[name] = heartbeat.images
        if heartbeat.addresses is not None:
            self._addresses[name] = heartbeat.addresses

        async def work() -> None:
            await self._guard(name, self._beat(name, heartbeat))

        self._pool.mark(("beat", name), work, Rank.LIFE)

    async def _guard(self, node: str, work: Any) -> bool:
        try:
            await work
        except ApiError as error:
            self._log.warning("node could not be written", node=node, error=str(error))
            return False
        return True

    async def _register(self, message: Register) -> None:
        while True:
            try:
                if await self._registered(message):
                    return
            except (AlreadyExists, Conflict, NotFound):
                continue

    async def _registered(self, message: Register) -> bool:
        """One step towards the Node that the agent describes; True when there is none left."""
        entry = self._store.get("nodes", Key("", message.node))
        if entry is None:
            await self._client.create(NODES, registration.new_node(message))
            return False
        if (body := registration.relabelled(entry.object, message)) is not None:
            await self._client.update(NODES, body)
            return False
        if (body := registration.with_static_status(entry.object, message)) is not None:
            await self._client.update(NODES, body, subresource="status")
            return False
        await self._store.durable(entry.revision)
        return True

    async def _beat(self, name: str, heartbeat: Heartbeat) -> None:
        entry = self._store.get("nodes", Key("", name))
        if entry is None:
            return
        await self._renew(entry.object)
        await self._report(name, heartbeat)

    async def _renew(self, node: Object) -> None:
        name = node["metadata"]["name"]
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [_owner(node)]},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": max(1, round(self._timings.lease_duration_s)),
                "renewTime": micro_timestamp(self._clock.now()),
            },
        }
        while True:
            known = self._store.get(LEASES.qualified, Key(LEASE_NAMESPACE, name))
            try:
                if known is None:
                    await self._client.create(LEASES, body, namespace=LEASE_NAMESPACE)
                else:
                    await self._client.update(LEASES, {**known.object, "spec": body["spec"]})
                return
            except (AlreadyExists, Conflict, NotFound):
                continue

    async def _report(self, name: str, heartbeat: Heartbeat) -> None:
        while True:
            entry = self._store.get("nodes", Key("", name))
            if entry is None:
                return
            status = entry.object.get("status", {})
            now = timestamp(self._clock.now())
            conditions, changed = merging.node_conditions(
                status.get("conditions", []), heartbeat.conditions, now
            )
            images = self._images.get(name, status.get("images", []))
            known = status.get("addresses", [])
            addresses = self._addresses.get(name, known)
            same = images == status.get("images", []) and addresses == known
            if not changed and same and not self._due(name):
                return
            wanted = {**status, "conditions": conditions, "addresses": addresses}
            if images:
                wanted["images"] = images
            try:
                written = await self._client.update(
                    NODES, {**entry.object, "status": wanted}, subresource="status"
                )
            except Conflict:
                continue
            except NotFound:
                return
            self._written_at[name] = self._clock.monotonic()
            self._tell_readiness(entry.object, written)
            return

    def _due(self, name: str) -> bool:
        last = self._written_at.get(name)
        return last is None or self._clock.monotonic() - last >= self._timings.node_status_report_s

    def _tell_readiness(self, before: Object, after: Object) -> None:
        old, new = (_readiness(node) for node in (before, after))
        if old != new:
            self._on_ready(after, new == "True", bool(old))


def _readiness(node: Object) -> str:
    condition = condition_of(node, "Ready")
    return condition["status"] if condition else ""


def _owner(node: Object) -> Object:
    reference = owner_reference(node)
    del reference["controller"], reference["blockOwnerDeletion"]
    return reference
