"""Namespace deletion: everything inside goes first (pods before the rest), then the namespace itself.

What is inside is asked from the registry of served resources, so custom resources go too. While something
remains, the namespace's conditions say what and which finalizers hold it; the next look comes when a pod
of the namespace is gone, or after a second.

Divergence: objects are deleted one by one (the client has no deletecollection), and the wait for the next
look is shorter than Kubernetes' estimate of half a grace period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cluster.api import kinds
from cluster.api.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from cluster.api.objects import Key, Object
from cluster.api.resource import Resource
from cluster.reconcile import conditions
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import IN_FLIGHT_LIMIT, together
from cluster.reconcile.world import World

NAME = "namespace-controller"
FINALIZER = "kubernetes"
AGAIN_S = 1.0


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=0.05)
    namespaces = world.informers.of(kinds.NAMESPACES)
    reconciler = Namespaces(world)
    return Controller(
        reconciler,
        queue,
        watches=[
            (namespaces, enqueue(queue)),
            (world.informers.of(kinds.PODS), _enqueue_when_pod_gone(queue, reconciler)),
        ],
    )


def _enqueue_when_pod_gone(queue: WorkQueue[Key], reconciler: Namespaces) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if new is None and old is not None:
            key = Key("", old["metadata"]["namespace"])
            if reconciler.is_terminating(key):
                queue.add(key, cause)

    return handler


@dataclass(slots=True)
class Remains:
    """What a sweep over a namespace left."""

    counts: dict[str, int] = field(default_factory=dict)
    """Qualified resource → objects."""
    finalizers: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def note(self, resource: Resource, items: Sequence[Object]) -> None:
        if items:
            name = f"{resource.plural}.{resource.group}"
            self.counts[name] = self.counts.get(name, 0) + len(items)
        for item in items:
            for finalizer in item["metadata"].get("finalizers") or ():
                self.finalizers[finalizer] = self.finalizers.get(finalizer, 0) + 1


def conditions_of(namespace: Object, remains: Remains, now: datetime) -> list[Object]:
    """The five conditions of a terminating namespace."""
    held: list[Object] = list(namespace.get("status", {}).get("conditions") or ())
    for wanted in _wanted_conditions(remains, now):
        present = conditions.find(held, wanted["type"])
        if present is None:
            held.append(wanted)
            continue
        if present["status"] == wanted["status"]:
            wanted["lastTransitionTime"] = present["lastTransitionTime"]
        held[held.index(present)] = wanted
    return held


def _wanted_conditions(remains: Remains, now: datetime) -> list[Object]:
    failed = bool(remains.errors)
    content = (
        ("True", "ContentDeletionFailed", f"Failed to delete all resource types, {_listed(remains.errors)}")
        if failed
        else (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        )
    )
    left = (
        ("True", "SomeResourcesRemain", f"Some resources are remaining: {_instances(remains.counts)}")
        if remains.counts
        else ("False", "ContentRemoved", "All content successfully removed")
    )
    held = (
        (
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {_holders(remains.finalizers)}",
        )
        if remains.finalizers
        else ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
    )
    return [
        conditions.new(
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
            now,
        ),
        conditions.new(
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            now,
        ),
        conditions.new("NamespaceDeletionContentFailure", *content, now),
        conditions.new("NamespaceContentRemaining", *left, now),
        conditions.new("NamespaceFinalizersRemaining", *held, now),
    ]


def _listed(errors: Sequence[str]) -> str:
    return f"{len(errors)} remaining: {', '.join(errors)}" if len(errors) > 1 else errors[0]


def _instances(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} has {counts[name]} resource instances" for name in sorted(counts))


def _holders(finalizers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} in {finalizers[name]} resource instances" for name in sorted(finalizers))


class Namespaces:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._clock = world.clock
        self._registry = world.registry
        self._namespaces = world.informers.of(kinds.NAMESPACES)

    def is_terminating(self, key: Key) -> bool:
        namespace = self._namespaces.get(key)
        return namespace is not None and "deletionTimestamp" in namespace["metadata"]

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or not self.is_terminating(key):
            return None
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return None
        remains = await self._empty(key.name)
        namespace = await self._write_conditions(namespace, remains)
        if remains.counts or remains.errors:
            return AGAIN_S
        await self._finalize(namespace)
        return None

    async def _empty(self, name: str) -> Remains:
        """Deletes what is there; says what remains."""
        remains = Remains()
        await self._delete_all(kinds.PODS, name, remains)
        if remains.counts or remains.errors:
            return remains
        for resource in self._registry.all():
            deletable = resource.namespaced and "delete" in resource.verbs and "list" in resource.verbs
            if deletable and resource is not kinds.PODS and self._registry.storage_of(resource) == resource:
                await self._delete_all(resource, name, remains)
        return remains

    async def _delete_all(self, resource: Resource, namespace: str, remains: Remains) -> None:
        try:
            items = (await self._client.list(resource, namespace=namespace)).items
            if not items:
                return
            doomed = [item for item in items if "deletionTimestamp" not in item["metadata"]]
            for start in range(0, len(doomed), IN_FLIGHT_LIMIT):
                part = doomed[start : start + IN_FLIGHT_LIMIT]
                for outcome in await together([self._delete(resource, item) for item in part]):
                    if isinstance(outcome, ApiError):
                        raise outcome
            remains.note(resource, (await self._client.list(resource, namespace=namespace)).items)
        except (NotFound, MethodNotAllowed):
            return  # served no longer, such as a custom resource whose definition went
        except ApiError as error:
            remains.errors.append(error.message)

    async def _delete(self, resource: Resource, item: Object) -> None:
        meta = item["metadata"]
        try:
            await self._client.delete(
                resource,
                meta["name"],
                namespace=meta["namespace"],
                uid=meta["uid"],
                propagation="Background",
            )
        except (NotFound, Conflict):
            return

    async def _write_conditions(self, namespace: Object, remains: Remains) -> Object:
        status = namespace.get("status", {}) | {
            "phase": "Terminating",
            "conditions": conditions_of(namespace, remains, self._clock.now()),
        }
        if status == namespace.get("status"):
            return namespace
        return await self._client.update(
            kinds.NAMESPACES, namespace | {"status": status}, subresource="status"
        )

    async def _finalize(self, namespace: Object) -> None:
        spec = namespace["spec"]
        finalizers = [each for each in spec["finalizers"] if each != FINALIZER]
        body = namespace | {"spec": spec | {"finalizers": finalizers}}
        try:
            await self._client.update(kinds.NAMESPACES, body, subresource="finalize")
        except NotFound:
            return
