"""The implementations of `ApiClient` that the suite runs over: one asynchronous context manager each,
giving a client of an empty cluster in which the namespaces of the system and `default`'s service account
exist. Add an implementation to `FACTORIES` and it has to keep the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog

from broker.chance import Chance
from broker.clock import SystemClock
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.registry import Registry
from cluster.server.auth.identity import Identity
from cluster.server.auth.tokens import SigningKey
from cluster.server.bootstrap import bootstrap_objects
from cluster.server.certificates import kubeconfig, open_pki, write_atomically
from cluster.server.http.serve import ApiServer
from cluster.server.local import LocalClient
from cluster.server.remote import RemoteClient
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


@asynccontextmanager
async def remote_client() -> AsyncIterator[ApiClient]:
    """The same verbs behind HTTPS, and no controllers that would write on their own."""
    clock, chance = SystemClock(), Chance(7)
    store = Store(MemoryJournal(), clock=clock, verify=True)
    verbs = Verbs(store, Registry(), clock=clock, chance=chance, service_cidr=SERVICE_CIDR)
    with TemporaryDirectory() as folder:
        pki = open_pki(Path(folder), server_names=(), now=clock.now())
        key = SigningKey.from_pem(pki.service_account_key.read_bytes())
        identity = Identity(verbs, key, clock=clock, chance=chance)
        server = ApiServer(
            verbs, identity, pki, streams=None, clock=clock, chance=chance, log=structlog.get_logger()
        )
        await bootstrap_objects(LocalClient(verbs, "bootstrap"), service_cidr=SERVICE_CIDR)
        port = await server.open("127.0.0.1", 0)
        config = Path(folder, "kubeconfig")
        admin = kubeconfig(
            server=f"https://127.0.0.1:{port}",
            authority_pem=pki.authority_pem,
            cluster="contract",
            user="admin",
            pair=pki.admin,
        )
        write_atomically(config, admin)
        async with RemoteClient.from_kubeconfig(config, name="contract-test") as client:
            account = {"metadata": {"name": "default", "namespace": "default"}}
            await client.create(kinds.SERVICE_ACCOUNTS, account)
            yield client
        await server.close()
    store.flush()
    store.verify()
    verbs.close()
    store.close()


FACTORIES: dict[str, Callable[[], AbstractAsyncContextManager[ApiClient]]] = {
    "local": local_client,
    "remote": remote_client,
}


@pytest.fixture(params=sorted(FACTORIES))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[ApiClient]:
    async with FACTORIES[request.param]() as opened:
        yield opened
