"""A local copy of one resource that follows the API, and tells who asked what changed.

List, then watch from the list's revision; when the history no longer reaches back (Gone), list again and
report the difference as if it had been watched. Batches of a watch are applied synchronously, so a
handler never sees half of one interleaved with other work.

Read your own writes: `observe` takes the answer of a write made in this process and applies it at once;
the same version coming through the watch later is recognised by its resourceVersion and skipped. So a
reconciler that has just created a pod finds it here on its very next look, and nothing like client-go's
expectations is needed to keep it from creating that pod twice.

Objects are shared with the store: never mutate them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence, ValuesView
from typing import TypeAlias

from broker.cause import caused_by, current_cause
from cluster.api.client import ApiClient, EventType, WatchEvent
from cluster.api.errors import ApiError, Gone
from cluster.api.objects import Key, Object, key_of
from cluster.api.resource import Resource

Handler: TypeAlias = Callable[[Object | None, Object | None, str], None]
"""handler(old, new, cause): old is None for an addition, new is None for a removal."""
IndexFunction: TypeAlias = Callable[[Object], Iterable[str]]
"""The values under which an object is found in an index."""

RETRY_INITIAL_S = 0.8
RETRY_MAX_S = 30.0

_NONE: dict[Key, Object] = {}


def revision_of(obj: Object) -> int:
    """The resourceVersion as the number it is."""
    return int(obj["metadata"].get("resourceVersion") or 0)


class Informer:
    """One resource in all namespaces."""

    def __init__(self, client: ApiClient, resource: Resource) -> None:
        self.resource = resource
        self._client = client
        self._objects: dict[Key, Object] = {}
        self._by_namespace: dict[str, dict[Key, Object]] = {}
        self._indexes: dict[str, tuple[IndexFunction, dict[str, dict[Key, Object]]]] = {}
        self._handlers: list[Handler] = []
        self._tombstones: dict[str, Key] = {}
        """uid of objects known to be deleted whose watch events may still be on their way."""
        self._synced = asyncio.Event()
        self._revision = "0"

    @property
    def revision(self) -> str:
        """The revision up to which the watch has been followed."""
        return self._revision

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Waits for the first complete list."""
        await self._synced.wait()

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str = "") -> ValuesView[Object]:
        """A live view, in order of arrival: copy it before awaiting something."""
        if namespace:
            return self._by_namespace.get(namespace, _NONE).values()
        return self._objects.values()

    def by_index(self, name: str, value: str) -> ValuesView[Object]:
        """A live view of the objects indexed under `value`: copy it before awaiting something."""
        return self._indexes[name][1].get(value, _NONE).values()

    def index_values(self, name: str) -> Collection[str]:
        """The values that at least one object has in this index."""
        return self._indexes[name][1].keys()

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Adds an index over present and future objects; adding the same name again does nothing."""
        if name in self._indexes:
            return
        buckets: dict[str, dict[Key, Object]] = {}
        self._indexes[name] = (function, buckets)
        for key, obj in self._objects.items():
            for value in function(obj):
                buckets.setdefault(value, {})[key] = obj

    def on_change(self, handler: Handler) -> Callable[[], None]:
        """Calls `handler` for what is already here (as additions) and for every change from now on.
        Returns a function that ends it."""
        self._handlers.append(handler)
        for obj in tuple(self._objects.values()):
            handler(None, obj, "")

        def end() -> None:
            self._handlers.remove(handler)

        return end

    def observe(self, obj: Object, *, deleted: bool = False) -> None:
        """Applies the answer of a write made in this process, ahead of the watch. An answer that the watch
        has already passed is ignored: the object may be deleted again by now."""
        if not self._synced.is_set():
            return
        if not deleted:
            if revision_of(obj) > int(self._revision):
                self._put(obj, current_cause())
            return
        meta = obj["metadata"]
        key = key_of(obj)
        present = self._objects.get(key)
        if present is not None and present["metadata"]["uid"] == meta["uid"]:
            self._tombstones[meta["uid"]] = key
            self._drop(key, current_cause())

    async def run(self) -> None:
        """Follows the API until cancelled. May be called again after a crash: state is kept."""
        delay_s = RETRY_INITIAL_S
        while True:
            try:
                await self._list()
                delay_s = RETRY_INITIAL_S
                await self._watch()
            except Gone:
                continue
            except ApiError:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_MAX_S)

    async def _list(self) -> None:
        listed = await self._client.list(self.resource)
        at = int(listed.revision)
        present: dict[Key, Object] = {}
        for obj in listed.items:
            present[key_of(obj)] = obj
        for key, known in tuple(self._objects.items()):
            if key not in present and revision_of(known) <= at:
                self._drop(key, "")
        for obj in present.values():
            self._put(obj, "")
        self._tombstones.clear()
        self._revision = listed.revision
        self._synced.set()

    async def _watch(self) -> None:
        while True:
            stream = self._client.watch(self.resource, revision=self._revision)
            try:
                async for batch in stream:
                    self._apply(batch)
            finally:
                close = getattr(stream, "aclose", None)
                if close is not None:
                    await close()

    def _apply(self, batch: Sequence[WatchEvent]) -> None:
        for event in batch:
            obj = event.object
            if event.type is EventType.DELETED:
                self._forget(obj, event.cause)
            elif event.type is not EventType.BOOKMARK:
                self._put(obj, event.cause)
        if batch:
            self._revision = batch[-1].object["metadata"]["resourceVersion"]

    def _forget(self, obj: Object, cause: str) -> None:
        if self._tombstones.pop(obj["metadata"]["uid"], None) is not None:
            return
        key = key_of(obj)
        present = self._objects.get(key)
        if present is not None and revision_of(present) <= revision_of(obj):
            self._drop(key, cause)

    def _put(self, obj: Object, cause: str) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and revision_of(old) >= revision_of(obj):
            return
        if obj["metadata"].get("uid") in self._tombstones:
            return
        self._objects[key] = obj
        self._by_namespace.setdefault(key.namespace, {})[key] = obj
        for function, buckets in self._indexes.values():
            _reindex(function, buckets, key, old, obj)
        self._tell(old, obj, cause)

    def _drop(self, key: Key, cause: str) -> None:
        old = self._objects.pop(key)
        remaining = self._by_namespace[key.namespace]
        del remaining[key]
        if not remaining:
            del self._by_namespace[key.namespace]
        for function, buckets in self._indexes.values():
            _reindex(function, buckets, key, old, None)
        self._tell(old, None, cause)

    def _tell(self, old: Object | None, new: Object | None, cause: str) -> None:
        if not self._handlers:
            return
        with caused_by(cause):
            for handler in tuple(self._handlers):
                handler(old, new, cause)


def _reindex(
    function: IndexFunction,
    buckets: dict[str, dict[Key, Object]],
    key: Key,
    old: Object | None,
    new: Object | None,
) -> None:
    after = tuple(function(new)) if new is not None else ()
    for value in function(old) if old is not None else ():
        if value not in after:
            bucket = buckets[value]
            del bucket[key]
            if not bucket:
                del buckets[value]
    for value in after:
        assert new is not None
        buckets.setdefault(value, {})[key] = new
