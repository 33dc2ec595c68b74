"""Looks at one object of the graph and deletes it if its owners are gone, always by a live look first.

Background: an object whose owners are all absent is deleted. Foreground: an owner with the finalizer waits
until the dependents that block it are gone. Orphan: the dependents lose their reference before the owner
goes. Each removal is asked for with the uid, so an object recreated under the same name is safe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.api.client import Propagation
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.controllers.garbage.graph import FOREGROUND, ORPHAN, Graph, Item, Node
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import together
from cluster.reconcile.world import World

NAME = "generic-garbage-collector"
ABSENT_LIMIT = 500
UNKNOWN_KIND_AGAIN_S = 30.0
"""How often an owner of a kind that is not served is asked for again."""


@dataclass(slots=True)
class Owners:
    """An object's owner references, by what became of the owners."""

    solid: list[Object] = field(default_factory=list)
    dangling: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)
    """Owners in foreground deletion, which wait for their dependents to go first."""
    unknown: bool = False
    """Nothing can be said of an owner: its kind is not served, or lives in namespaces and the object not."""


def decide(obj: Object, owners: Owners, *, has_dependents: bool) -> Propagation | None:
    """How to delete the object, or None to keep it."""
    if owners.solid or owners.unknown:
        return None
    if owners.waiting and has_dependents:
        return "Foreground"
    finalizers: Sequence[str] = obj["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


class Collector:
    name = NAME

    def __init__(self, world: World, graph: Graph, queue: WorkQueue[Item]) -> None:
        self._client = world.client_as(NAME)
        self._registry = world.registry
        self._graph = graph
        self._queue = queue
        self._absent: OrderedDict[str, None] = OrderedDict()

    async def reconcile(self, key: Item) -> float | None:
        node = self._graph.node(key.uid)
        if node is None or node.resource is None:
            return None
        if key.orphaning:
            await self._orphan(node, node.resource)
            return None
        if node.deleting and not node.deleting_dependents:
            return None
        if not node.deleting_dependents and self._graph.has_solid_owners(node):
            return None
        latest = await self._latest(node, node.resource)
        if latest is None:
            self._enqueue(self._graph.remove(node.uid))
            return None
        if node.deleting_dependents:
            await self._finish_foreground(node, node.resource, latest)
            return None
        return await self._judge(node, node.resource, latest)

    def _enqueue(self, items: Sequence[Item]) -> None:
        for item in items:
            self._queue.add(item)

    async def _latest(self, node: Node, resource: Resource) -> Object | None:
        try:
            found = await self._client.get(resource, node.key.name, namespace=node.key.namespace)
        except NotFound:
            return None
        return found if found["metadata"]["uid"] == node.uid else None

    async def _judge(self, node: Node, resource: Resource, latest: Object) -> float | None:
        references = latest["metadata"].get("ownerReferences") or ()
        if not references:
            return None
        owners = await self._sorted(references, latest["metadata"].get("namespace", ""))
        policy = decide(latest, owners, has_dependents=bool(node.dependents))
        if policy is not None:
            if owners.waiting and any(each.deleting_dependents for each in node.dependents.values()):
                latest = await self._unblock(resource, latest)
            await self._delete(resource, latest, policy)
        elif owners.solid and (owners.dangling or owners.waiting):
            await self._keep_references(resource, latest, owners.solid)
        return UNKNOWN_KIND_AGAIN_S if owners.unknown else None

    async def _sorted(self, references: Sequence[Object], namespace: str) -> Owners:
        owners = Owners()
        for reference in references:
            if reference["uid"] in self._absent:
                owners.dangling.append(reference)
                continue
            resource = self._registry.of_kind(reference["apiVersion"], reference["kind"])
            if resource is None or (resource.namespaced and not namespace):
                owners.unknown = True
                continue
            found = await self._owner(reference, resource, namespace)
            if found is None:
                self._remember_absent(reference["uid"])
                owners.dangling.append(reference)
            elif "deletionTimestamp" in found and FOREGROUND in (found.get("finalizers") or ()):
                owners.waiting.append(reference)
            else:
                owners.solid.append(reference)
        return owners

    async def _owner(self, reference: Object, resource: Resource, namespace: str) -> Mapping[str, Any] | None:
        """The owner's metadata; None if there is no object of that name and uid."""
        where = namespace if resource.namespaced else ""
        try:
            found = await self._client.get(resource, reference["name"], namespace=where)
        except NotFound:
            return None
        meta: Mapping[str, Any] = found["metadata"]
        return meta if meta["uid"] == reference["uid"] else None

    def _remember_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > ABSENT_LIMIT:
            self._absent.popitem(last=False)

    async def _finish_foreground(self, node: Node, resource: Resource, latest: Object) -> None:
        blocking = node.blocking()
        if not blocking:
            await self._remove_finalizer(resource, latest, FOREGROUND)
            return
        for each in blocking:
            if not each.deleting_dependents:
                self._queue.add(Item(each.uid, False))

    async def _orphan(self, node: Node, resource: Resource) -> None:
        dependents = [each for each in node.dependents.values() if each.resource is not None]
        for outcome in await together([self._let_go(each, node.uid) for each in dependents]):
            if isinstance(outcome, ApiError):
                raise outcome
        latest = await self._latest(node, resource)
        if latest is not None:
            await self._remove_finalizer(resource, latest, ORPHAN)

    async def _let_go(self, dependent: Node, owner: str) -> None:
        assert dependent.resource is not None
        latest = await self._latest(dependent, dependent.resource)
        if latest is None:
            return
        references = latest["metadata"].get("ownerReferences") or ()
        kept = [reference for reference in references if reference["uid"] != owner]
        if len(kept) != len(references):
            await self._keep_references(dependent.resource, latest, kept)

    async def _unblock(self, resource: Resource, latest: Object) -> Object:
        """Foreground deletion of a circle: somebody has to stop blocking."""
        references = [
            {name: value for name, value in reference.items() if name != "blockOwnerDeletion"}
            for reference in latest["metadata"]["ownerReferences"]
        ]
        return await self._keep_references(resource, latest, references)

    async def _keep_references(self, resource: Resource, obj: Object, references: Sequence[Object]) -> Object:
        return await self._patch(resource, obj, {"ownerReferences": list(references) or None})

    async def _remove_finalizer(self, resource: Resource, obj: Object, finalizer: str) -> None:
        finalizers = obj["metadata"].get("finalizers") or ()
        if finalizer in finalizers:
            kept = [each for each in finalizers if each != finalizer]
            try:
                await self._patch(resource, obj, {"finalizers": kept or None})
            except NotFound:
                return

    async def _patch(self, resource: Resource, obj: Object, change: Object) -> Object:
        meta = obj["metadata"]
        guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        return await self._client.patch(
            resource, meta["name"], {"metadata": guard | change}, namespace=meta.get("namespace", "")
        )

    async def _delete(self, resource: Resource, obj: Object, policy: Propagation) -> None:
        meta = obj["metadata"]
        try:
            await self._client.delete(
                resource,
                meta["name"],
                namespace=meta.get("namespace", ""),
                uid=meta["uid"],
                propagation=policy,
            )
        except NotFound:
            return
