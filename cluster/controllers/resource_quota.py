"""ResourceQuota status: recounts what a namespace uses when something is given back.

Admission books what is created, in the same turn as the creation. So the recount reads the API live and
writes with the quota's own resourceVersion: if anything was booked meanwhile, the write conflicts and the
count is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, key_of
from cluster.api.quota import Usage, in_scope, printed, total, usage_of
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller, Watch, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.served import follow
from cluster.reconcile.world import World

NAME = "resourcequota-controller"
SPACING_S = 0.2

_CORE = (
    kinds.PODS,
    kinds.SERVICES,
    kinds.PERSISTENT_VOLUME_CLAIMS,
    kinds.CONFIG_MAPS,
    kinds.SECRETS,
    kinds.REPLICATION_CONTROLLERS,
    kinds.RESOURCE_QUOTAS,
)


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    quotas = world.informers.of(kinds.RESOURCE_QUOTAS)
    counted = Counted(world, queue, quotas)
    return Controller(
        ResourceQuotas(world),
        queue,
        watches=[(quotas, enqueue(queue)), *counted.watches()],
        loops=[("resources", counted.run)],
    )


class Counted:
    """Whose objects count: every namespaced resource, custom ones from when they are served."""

    def __init__(self, world: World, queue: WorkQueue[Key], quotas: Informer) -> None:
        self._world, self._queue, self._quotas = world, queue, quotas
        self._watched: dict[str, None] = {}

    def watches(self) -> list[Watch]:
        """The watches for what is served now and not watched yet."""
        countable = self._countable()
        names = {each.qualified: None for each in countable}
        new = [each for each in countable if each.qualified not in self._watched]
        self._watched = names
        return [
            (self._world.informers.of(each), _enqueue_quotas(self._queue, self._quotas, each)) for each in new
        ]

    async def run(self) -> None:
        await follow(self._world.registry, self.watches)

    def _countable(self) -> list[Resource]:
        registry = self._world.registry
        return [
            each
            for each in registry.all()
            if each.namespaced
            and {"list", "watch", "delete"} <= set(each.verbs)
            and registry.storage_of(each) == each
            and each.qualified not in (kinds.EVENTS.qualified, kinds.RESOURCE_QUOTAS.qualified)
        ]


def _enqueue_quotas(queue: WorkQueue[Key], quotas: Informer, resource: Resource) -> Handler:
    """Something that counts went, or counts for another amount now."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is None:
            return
        present = quotas.list(old["metadata"]["namespace"])
        if present and (new is None or usage_of(resource, old) != usage_of(resource, new)):
            for quota in present:
                queue.add(key_of(quota), cause)

    return handler


def counted_resources(hard: Sequence[str], registry: Registry) -> list[Resource]:
    """The resources whose objects decide about these limits."""
    found: dict[str, Resource] = {}
    for name in hard:
        if name.startswith("count/"):
            plural, _, group = name.removeprefix("count/").partition(".")
            for each in registry.all():
                if (each.plural, each.group) == (plural, group):
                    found[each.qualified] = registry.storage_of(each)
            continue
        for each in _CORE:
            if name == each.qualified or _decides(each, name):
                found[each.qualified] = each
    return list(found.values())


def _decides(resource: Resource, name: str) -> bool:
    if resource is kinds.SERVICES:
        return name.startswith("services.")
    claims = name == "requests.storage" or ".storageclass.storage.k8s.io/" in name
    if resource is kinds.PERSISTENT_VOLUME_CLAIMS:
        return claims
    core_names = [each.qualified for each in _CORE]
    return (
        resource is kinds.PODS and not claims and name not in core_names and not name.startswith("services.")
    )


class ResourceQuotas:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._registry = world.registry
        self._quotas = world.informers.of(kinds.RESOURCE_QUOTAS)

    async def reconcile(self, key: Key) -> float | None:
        if self._quotas.get(key) is None:
            return None
        try:
            quota = await self._client.get(kinds.RESOURCE_QUOTAS, key.name, namespace=key.namespace)
        except NotFound:
            return None
        hard = quota["spec"].get("hard") or {}
        usages: list[Usage] = []
        for resource in counted_resources(list(hard), self._registry):
            listed = await self._client.list(resource, namespace=key.namespace)
            usages += [usage_of(resource, o) for o in listed.items if in_scope(quota["spec"], resource, o)]
        status = {"hard": hard, "used": printed(total(usages, hard))}
        if status != (quota.get("status") or {}):
            await self._client.update(kinds.RESOURCE_QUOTAS, quota | {"status": status}, subresource="status")
        return None
