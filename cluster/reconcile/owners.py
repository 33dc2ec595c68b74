"""Who owns what: indexes by controller, and which objects an owner should adopt or release.

The rules are client-go's ControllerRefManager: an object belongs to its controller reference; one without
that matches an owner's selector is adopted (after a live look that the owner is not being deleted); an
owned one that matches no longer is released.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from cluster.api.client import ApiClient, PatchType
from cluster.api.errors import Conflict, Invalid, NotFound
from cluster.api.objects import Key, Object, controller_of, owner_reference
from cluster.api.resource import Resource
from cluster.api.selectors import LabelSelector, of_object_form
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import together

BY_CONTROLLER = "controller-uid"
ORPHANS = "orphans-of-namespace"


def index_by_controller(informer: Informer) -> None:
    """Adds the two indexes that `candidates` reads."""
    informer.add_index(BY_CONTROLLER, _controller_uid)
    informer.add_index(ORPHANS, _orphan_namespace)


def _controller_uid(obj: Object) -> tuple[str, ...]:
    reference = controller_of(obj)
    return (reference["uid"],) if reference is not None else ()


def _orphan_namespace(obj: Object) -> tuple[str, ...]:
    return () if controller_of(obj) is not None else (obj["metadata"].get("namespace", ""),)


def owned(informer: Informer, owner: Object) -> list[Object]:
    """What `owner` controls."""
    return list(informer.by_index(BY_CONTROLLER, owner["metadata"]["uid"]))


@dataclass(slots=True)
class Claim:
    """Sorted candidates of one owner."""

    kept: list[Object] = field(default_factory=list)
    adopt: list[Object] = field(default_factory=list)
    release: list[Object] = field(default_factory=list)


def claim(owner: Object, selector: LabelSelector, candidates: Iterable[Object]) -> Claim:
    """Which of `candidates` are the owner's, should become so, or should be let go."""
    result = Claim()
    uid, deleting = owner["metadata"]["uid"], "deletionTimestamp" in owner["metadata"]
    for obj in candidates:
        reference = controller_of(obj)
        matches = selector.matches_object(obj)
        if reference is not None:
            if reference["uid"] != uid:
                continue
            if matches:
                result.kept.append(obj)
            elif not deleting:
                result.release.append(obj)
        elif matches and not deleting and "deletionTimestamp" not in obj["metadata"]:
            result.adopt.append(obj)
    return result


class Claims:
    """Carries out adoption and release for one kind of owner and one kind of object."""

    def __init__(self, client: ApiClient, owners: Resource, objects: Informer) -> None:
        self._client = client
        self._owners = owners
        self._objects = objects
        index_by_controller(objects)

    async def settle(
        self,
        owner: Object,
        selector: LabelSelector,
        *,
        wanted: Callable[[Object], bool] = lambda obj: True,
        add_finalizer: str = "",
    ) -> list[Object]:
        """Adopts and releases what has to be, and gives what `owner` has then. Only `wanted` objects are
        looked at. Raises what adoption met."""
        namespace = owner["metadata"].get("namespace", "")
        candidates = [
            *self._objects.by_index(BY_CONTROLLER, owner["metadata"]["uid"]),
            *self._objects.by_index(ORPHANS, namespace),
        ]
        decided = claim(owner, selector, filter(wanted, candidates))
        if decided.adopt:
            await self._check_alive(owner)
            await self._all([self._adopt(owner, obj, add_finalizer) for obj in decided.adopt])
        if decided.release:
            await self._all([self._release(owner, obj, add_finalizer) for obj in decided.release])
        if not decided.adopt:
            return decided.kept
        mine = owned(self._objects, owner)
        return [obj for obj in mine if selector.matches_object(obj) and wanted(obj)]

    async def _all(self, works: list[Coroutine[Any, Any, None]]) -> None:
        for outcome in await together(works):
            if isinstance(outcome, Exception):
                raise outcome

    async def _check_alive(self, owner: Object) -> None:
        meta = owner["metadata"]
        try:
            fresh = await self._client.get(self._owners, meta["name"], namespace=meta.get("namespace", ""))
        except NotFound as error:
            raise Conflict(error.message) from None
        if fresh["metadata"]["uid"] != meta["uid"] or "deletionTimestamp" in fresh["metadata"]:
            raise Conflict(f"{meta.get('namespace', '')}/{meta['name']} has just been deleted")

    async def _adopt(self, owner: Object, obj: Object, finalizer: str) -> None:
        meta: Object = {"uid": obj["metadata"]["uid"], "ownerReferences": [owner_reference(owner)]}
        if finalizer:
            meta["finalizers"] = [finalizer]
        await self._patch(obj, meta)

    async def _release(self, owner: Object, obj: Object, finalizer: str) -> None:
        meta: Object = {
            "uid": obj["metadata"]["uid"],
            "ownerReferences": [{"$patch": "delete", "uid": owner["metadata"]["uid"]}],
        }
        if finalizer:
            meta["$deleteFromPrimitiveList/finalizers"] = [finalizer]
        try:
            await self._patch(obj, meta)
        except (NotFound, Invalid):
            return  # gone meanwhile, or another with the same name: nothing to release

    async def _patch(self, obj: Object, meta: Object) -> None:
        await self._client.patch(
            self._objects.resource,
            obj["metadata"]["name"],
            {"metadata": meta},
            namespace=obj["metadata"].get("namespace", ""),
            kind=PatchType.STRATEGIC,
        )


def selector_of(owner: Object) -> LabelSelector:
    """spec.selector of a workload."""
    return of_object_form(owner["spec"].get("selector"))


def enqueue_owner(
    queue: WorkQueue[Key],
    owners: Informer,
    *,
    selector: Callable[[Object], LabelSelector] | None = selector_of,
) -> Handler:
    """The handler that adds the owner of a changed object; for one without a controller, whoever's
    selector matches it (unless `selector` is None)."""

    def resolve(obj: Object, cause: str) -> bool:
        reference = controller_of(obj)
        if reference is None:
            return False
        if is_reference_to(reference, owners.resource):
            key = Key(obj["metadata"].get("namespace", ""), reference["name"])
            owner = owners.get(key)
            if owner is not None and owner["metadata"]["uid"] == reference["uid"]:
                queue.add(key, cause)
        return True

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if new is None:
            assert old is not None
            resolve(old, cause)
            return
        if old is not None and controller_of(old) != controller_of(new):
            resolve(old, cause)
        if resolve(new, cause) or selector is None or "deletionTimestamp" in new["metadata"]:
            return
        if old is not None and _same_claim(old, new):
            return
        for owner in owners.list(new["metadata"].get("namespace", "")):
            if selector(owner).matches_object(new):
                queue.add(Key(owner["metadata"].get("namespace", ""), owner["metadata"]["name"]), cause)

    return handler


def _same_claim(old: Object, new: Object) -> bool:
    """Nothing that adoption looks at differs."""
    return old["metadata"].get("labels") == new["metadata"].get("labels") and controller_of(
        old
    ) == controller_of(new)


def is_reference_to(reference: Object, resource: Resource) -> bool:
    """Same kind and group; the version may differ."""
    if reference["kind"] != resource.kind:
        return False
    group, slash, _ = reference["apiVersion"].partition("/")
    return (group if slash else "") == resource.group
