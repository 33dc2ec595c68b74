"""The verbs of the API without HTTP: what a request means, whoever asks and however it came.

Order of a write: decode, default, ownership of fields, mutating admission, preparation by kind,
allocation, validation, validating admission, store, durable. Authorisation comes before, at the edge.

Answers are `Entry`s: the object with its JSON bytes, made once per version.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from broker.chance import Chance
from broker.clock import Clock
from cluster.api.client import PatchType
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.timings import STANDARD, Timings
from cluster.server.admission.chain import Chain
from cluster.server.admission.request import Operation, Setting
from cluster.server.admission.table import MUTATING, VALIDATING
from cluster.server.allocate import ServiceAllocator
from cluster.server.call import Call, DeleteOptions, ListOptions, WatchOptions
from cluster.server.verbs import (
    converting,
    deletion,
    patching,
    reading,
    schema,
    subresources,
    watching,
    writing,
)
from cluster.server.verbs.admitting import admit
from cluster.server.verbs.environment import Computed, Environment, Reviewer, SubresourceHook
from cluster.server.verbs.reading import Listing
from cluster.server.watch import Watch, WatchHub
from cluster.store.entry import Entry
from cluster.store.store import Store

__all__ = ["Listing", "Verbs"]


class Verbs:
    """See the module."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        clock: Clock,
        chance: Chance,
        timings: Timings = STANDARD,
        service_cidr: str = "10.96.0.0/16",
        disabled_plugins: Collection[str] = (),
    ) -> None:
        setting = Setting(
            store=store, registry=registry, clock=clock, chance=chance.fork("admission"), timings=timings
        )
        self.environment = Environment(
            store=store,
            registry=registry,
            clock=clock,
            chance=chance.fork("verbs"),
            admission=Chain(setting, MUTATING, VALIDATING, disabled_plugins),
            services=ServiceAllocator(store, cidr=service_cidr, chance=chance.fork("services")),
        )
        self.hub = WatchHub(store)
        self.store = store
        self.registry = registry

    def add_subresource(self, qualified: str, subresource: str, hook: SubresourceHook) -> None:
        """Lets another part answer POSTs to a subresource, e.g. ("serviceaccounts", "token")."""
        self.environment.hooks[qualified, subresource] = hook

    def add_reviewer(self, qualified: str, reviewer: Reviewer) -> None:
        """Lets another part answer POSTs to a kind that is never stored."""
        self.environment.reviewers[qualified] = reviewer

    def add_computed(self, qualified: str, make: Computed) -> None:
        """Lets another part answer GET and LIST of a kind that is never stored."""
        self.environment.computed[qualified] = make

    async def get(self, call: Call, revision: str = "") -> Entry:
        if call.subresource:
            return await subresources.get(self.environment, call)
        return await reading.get(self.environment, call, revision)

    async def list(self, call: Call, options: ListOptions) -> Listing:
        if (conversion := self.environment.conversion(call.resource)) is not None:
            return await converting.list_objects(self.environment, conversion, call, options)
        return await reading.list_objects(self.environment, call, options)

    async def watch(self, call: Call, options: WatchOptions) -> Watch:
        """An open watch: iterate over batches of events, and close it."""
        if (conversion := self.environment.conversion(call.resource)) is not None:
            return await converting.open_watch(self.environment, self.hub, conversion, call, options)
        return await watching.open_watch(self.environment, self.hub, call, options)

    async def create(self, call: Call, body: Object) -> Entry:
        if call.subresource or call.resource.verbs == ("create",):
            body = schema.decode_subresource(call, body)
            return await subresources.create(self.environment, call, body)
        return await writing.create(self.environment, call, body)

    async def update(self, call: Call, body: Object) -> Entry:
        if call.subresource not in ("", "status"):
            body = schema.decode_subresource(call, body)
            return await subresources.update(self.environment, call, body)
        return await writing.update(self.environment, call, body)

    async def patch(self, call: Call, kind: PatchType, patch: Any, *, force: bool = False) -> Entry:
        """`patch` is parsed JSON (YAML for apply)."""
        return await patching.patch(self.environment, call, kind, patch, force=force)

    async def delete(self, call: Call, options: DeleteOptions) -> Entry:
        return await deletion.delete(self.environment, call, options)

    async def delete_collection(
        self, call: Call, options: ListOptions, deletion_options: DeleteOptions
    ) -> Listing:
        if (conversion := self.environment.conversion(call.resource)) is not None:
            return await converting.delete_collection(
                self.environment, conversion, call, options, deletion_options
            )
        return await deletion.delete_collection(self.environment, call, options, deletion_options)

    async def admit_connection(self, call: Call, options: Object) -> None:
        """Asks webhooks and policies about a stream to a subresource; `options` say what it is for."""
        await admit(self.environment, call, Operation.CONNECT, options)

    def close(self) -> None:
        """Ends every watch. The store stays open."""
        self.hub.close()
