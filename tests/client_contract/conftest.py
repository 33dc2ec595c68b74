"""The implementations of `ApiClient` that the suite runs over: one asynchronous context manager each,
giving a client of an empty cluster in which the namespaces of the system and `default`'s service account
exist. Add an implementation to `FACTORIES` and it has to keep the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from broker.chance import Chance
from broker.clock import SystemClock
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.registry import Registry
from cluster.server.bootstrap import bootstrap_objects
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store

SERVICE_CIDR = "10.96.0.0/16"


@asynccontextmanager
async def local_client() -> AsyncIterator[ApiClient]:
    store = Store(MemoryJournal(), clock=SystemClock(), verify=True)
    verbs = Verbs(store, Registry(), clock=SystemClock(), chance=Chance(7), service_cidr=SERVICE_CIDR)
    client = LocalClient(verbs, "contract-test")
    await bootstrap_objects(client, service_cidr=SERVICE_CIDR)
    await client.create(kinds.SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    yield client
    store.flush()
    store.verify()
    verbs.close()
    store.close()


FACTORIES: dict[str, Callable[[], AbstractAsyncContextManager[ApiClient]]] = {"local": local_client}


@pytest.fixture(params=sorted(FACTORIES))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[ApiClient]:
    async with FACTORIES[request.param]() as opened:
        yield opened
