"""A verbs instance over a verifying in-memory store, on a clock that a test moves itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.chance import Chance
from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.server.bootstrap import bootstrap_objects
from cluster.server.call import Call, DeleteOptions, ListOptions, User
from cluster.server.local import LocalClient
from cluster.server.verbs import Listing, Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store


class HandClock:
    """Shows what the test set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Api:
    """The verbs as an HTTP request would use them: nothing is trusted."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = Store(MemoryJournal(), clock=self.clock, verify=True)
        self.verbs = Verbs(self.store, Registry(), clock=self.clock, chance=Chance(3))
        self.client = LocalClient(self.verbs, "test")

    def call(self, resource: Resource, name: str = "", **rest: Any) -> Call:
        namespace = rest.pop("namespace", "default" if resource.namespaced else "")
        user = User(name="test", groups=("system:masters",))
        return Call(
            user=user, resource=resource, namespace=namespace, name=name, field_manager="test", **rest
        )

    async def create(self, resource: Resource, body: Object, **rest: Any) -> Object:
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return (await self.verbs.create(self.call(resource, **rest), whole)).object

    async def get(self, resource: Resource, name: str, **rest: Any) -> Object:
        return (await self.verbs.get(self.call(resource, name, **rest))).object

    async def update(self, resource: Resource, body: Object, **rest: Any) -> Object:
        name = body["metadata"]["name"]
        return (await self.verbs.update(self.call(resource, name, **rest), body)).object

    async def merge(self, resource: Resource, name: str, patch: Object, **rest: Any) -> Object:
        call = self.call(resource, name, **rest)
        return (await self.verbs.patch(call, PatchType.MERGE, patch)).object

    async def delete(self, resource: Resource, name: str, **options: Any) -> Object:
        return (await self.verbs.delete(self.call(resource, name), DeleteOptions(**options))).object

    async def page(self, resource: Resource, **options: Any) -> Listing:
        return await self.verbs.list(self.call(resource), ListOptions(**options))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    await bootstrap_objects(made.client, service_cidr="10.96.0.0/16")
    await made.create(kinds.SERVICE_ACCOUNTS, {"metadata": {"name": "default"}})
    yield made
    made.store.flush()
    made.store.verify()
    made.verbs.close()
