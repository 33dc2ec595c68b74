"""Watches: changes of the store, filtered once per kind of watcher, handed to each as shared batches.

Watchers of one resource that ask for the same (version, namespace, selectors) form a group. A batch of
changes is filtered and turned into events once per group; each watcher of the group only gets a reference
to the batch, and all of them send the same bytes. A watcher whose backlog exceeds BACKLOG_LIMIT is cut off
with 410, so a slow client costs a bounded amount of memory and nobody else's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cluster.api import errors
from cluster.api.client import EventType
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.store.entry import Change, Entry, with_revision
from cluster.store.history import Compacted
from cluster.store.store import Store

BACKLOG_LIMIT = 10_000
"""Events that may wait for one watcher."""
BOOKMARK_PERIOD_S = 60.0
"""How often a watcher that asked for bookmarks is told the current revision."""
_GROUPS = 32
"""Empty groups are swept when there are more of one resource than this, or than twice what was left."""

Predicate = Callable[[Object], bool]
Convert = Callable[[Object], Object]


class Event:
    """One event as a watcher sends it. `object` must not be mutated."""

    __slots__ = ("_entry", "_frame", "cause", "object", "revision", "type")

    def __init__(self, kind: EventType, entry: Entry, cause: str, revision: int) -> None:
        self.type = kind
        self.object = entry.object
        self.cause = cause
        self.revision = revision
        self._entry = entry
        self._frame: bytes | None = None

    @property
    def entry(self) -> Entry:
        return self._entry

    @property
    def frame(self) -> bytes:
        """The event's JSON line, made once for all watchers of the group."""
        frame = self._frame
        if frame is None:
            head = _HEADS[self.type]
            frame = self._frame = head + self._entry.json + b"}\n"
        return frame


_HEADS = {kind: b'{"type":"%s","object":' % kind.value.encode() for kind in EventType}


def bookmark(resource: Resource, revision: int, *, initial_events_end: bool = False) -> Event:
    """An event that only says how far the watcher is."""
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    if resource.group == "" and resource.plural == "pods":
        obj |= {"spec": {"containers": None}, "status": {}}
    return Event(EventType.BOOKMARK, Entry(resource.qualified, _NO_KEY, obj, revision), "", revision)


class Watch:
    """One open watch: an asynchronous iterator of batches. `close()` ends it; closing twice is harmless."""

    def __init__(self, group: Group, after: int) -> None:
        self._group = group
        self._after = after
        self._batches: deque[Sequence[Event]] = deque()
        self._waiting = 0
        self._wake: asyncio.Future[None] | None = None
        self._overrun = False
        self._closed = False
        self.bookmarks = False
        """Wants to be told the current revision now and then."""

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> list[Event]:
        """All events that have come since the last call. Raises Expired for a watcher that was too slow,
        StopAsyncIteration after `close`."""
        while not self._batches:
            if self._closed:
                raise StopAsyncIteration
            if self._overrun:
                raise errors.Expired("too old resource version: the watcher is too slow")
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if len(self._batches) == 1:
            events = list(self._batches.popleft())
        else:
            events = [event for batch in self._batches for event in batch]
            self._batches.clear()
        self._waiting = 0
        return events

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._group.leave(self)
            self.wake()

    async def aclose(self) -> None:
        self.close()

    @property
    def revision(self) -> int:
        """Everything up to here has been put into the watch."""
        return self._after

    def wake(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    def put(self, events: Sequence[Event]) -> None:
        """Called by the group: events in order of revision, shared with other watchers."""
        if self._closed or self._overrun:
            return
        if events[0].revision <= self._after:  # written, but not yet published, when the watch began
            events = [event for event in events if event.revision > self._after]
            if not events:
                return
        self._waiting += len(events)
        if self._waiting > BACKLOG_LIMIT:
            self._overrun = True
            self._batches.clear()
            self._group.leave(self)
        else:
            self._batches.append(events)
        if self._wake is not None:
            self.wake()

    def mark(self, event: Event) -> None:
        """Called by the hub: a bookmark, unless the watch still has events to hand out."""
        if not self._batches and not self._overrun and not self._closed and event.revision >= self._after:
            self._batches.append((event,))
            self.wake()

    def start_with(self, events: Sequence[Event]) -> None:
        """What the watch begins with, before anything else; not counted as backlog."""
        if events:
            self._batches.append(events)


class Group:
    """Watchers that see the same events."""

    def __init__(
        self, resource: Resource, namespace: str, matches: Predicate | None, convert: Convert | None
    ) -> None:
        self.resource = resource
        self.watches: dict[Watch, None] = {}
        self._namespace = namespace
        self._matches = matches
        self._convert = convert

    def join(self, after: int) -> Watch:
        watch = Watch(self, after)
        self.watches[watch] = None
        return watch

    def leave(self, watch: Watch) -> None:
        self.watches.pop(watch, None)

    def changed(self, changes: Sequence[Change]) -> None:
        events = self.events(changes)
        if events:
            for watch in tuple(self.watches):
                watch.put(events)

    def events(self, changes: Sequence[Change]) -> list[Event]:
        found = []
        namespace = self._namespace
        for change in changes:
            if not namespace or change.entry.key.namespace == namespace:
                event = self._event(change)
                if event is not None:
                    found.append(event)
        return found

    def initial(self, entry: Entry) -> Event:
        return Event(EventType.ADDED, self._view(entry), "", entry.revision)

    def _event(self, change: Change) -> Event | None:
        kind, entry, matches = change.type, change.entry, self._matches
        if matches is not None:
            previous = change.previous
            before = previous is not None and matches(previous.object)
            if kind is EventType.DELETED:
                if not before:
                    return None
            else:
                after = matches(entry.object)
                if after:
                    kind = EventType.MODIFIED if before else EventType.ADDED
                elif before and previous is not None:
                    kind = EventType.DELETED
                    gone = with_revision(previous.object, change.revision)
                    entry = Entry(entry.qualified, entry.key, gone, change.revision)
                else:
                    return None
        return Event(kind, self._view(entry), change.cause, change.revision)

    def _view(self, entry: Entry) -> Entry:
        if self._convert is None:
            return entry
        return Entry(entry.qualified, entry.key, self._convert(entry.object), entry.revision)


GroupKey = tuple[str, str, str, str]
"""(apiVersion, namespace, label selector, field selector)"""


class WatchHub:
    """Distributes the store's changes to the groups that want them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[str, dict[GroupKey, Group]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = _GROUPS
        self._end = store.subscribe(self._published)

    def close(self) -> None:
        """Ends every watch."""
        self._end()
        if self._timer is not None:
            self._timer.cancel()
        for groups in self._groups.values():
            for group in groups.values():
                for watch in tuple(group.watches):
                    watch.close()

    def end(self, qualified: str) -> None:
        """Ends the watches of a resource that is served no longer."""
        for group in self._groups.pop(qualified, {}).values():
            for watch in tuple(group.watches):
                watch.close()

    def count(self) -> dict[str, int]:
        """Open watches per resource."""
        return {
            qualified: sum(len(group.watches) for group in groups.values())
            for qualified, groups in self._groups.items()
        }

    def group(
        self,
        qualified: str,
        key: GroupKey,
        resource: Resource,
        matches: Predicate | None,
        convert: Convert | None,
    ) -> Group:
        """The group with this key, made if there is none."""
        groups = self._groups.setdefault(qualified, {})
        if len(groups) >= self._sweep_at:
            for stale in [k for k, group in groups.items() if not group.watches]:
                del groups[stale]
            self._sweep_at = max(_GROUPS, 2 * len(groups))
        found = groups.get(key)
        if found is None:
            found = groups[key] = Group(resource, key[1], matches, convert)
        return found

    def since(self, group: Group, qualified: str, revision: int) -> Watch:
        """A watch of everything after `revision`. Raises Expired."""
        try:
            missed = self._store.changes_since(qualified, revision)
        except Compacted as compacted:
            raise errors.Expired(
                f"too old resource version: {compacted.asked} ({compacted.oldest})"
            ) from None
        watch = group.join(max(revision, self._store.durable_revision))
        watch.start_with(group.events(missed))
        return watch

    def bookmark_regularly(self, watch: Watch) -> None:
        """One timer serves all watches that want bookmarks; it runs only while there are any."""
        watch.bookmarks = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_PERIOD_S, self._bookmark)

    def _bookmark(self) -> None:
        self._timer = None
        revision, marked = self._store.durable_revision, False
        for groups in self._groups.values():
            for group in groups.values():
                wanting = [watch for watch in group.watches if watch.bookmarks]
                if wanting:
                    marked = True
                    event = bookmark(group.resource, revision)
                    for watch in wanting:
                        watch.mark(event)
        if marked:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_PERIOD_S, self._bookmark)

    def _published(self, batch: Sequence[Change]) -> None:
        by_resource: dict[str, list[Change]] = {}
        groups = self._groups
        for change in batch:
            qualified = change.entry.qualified
            if qualified in groups:
                by_resource.setdefault(qualified, []).append(change)
        for qualified, changes in by_resource.items():
            for group in tuple(groups[qualified].values()):
                if group.watches:
                    group.changed(changes)


_NO_KEY: Any = None


def error_frame(status: Object) -> bytes:
    """The last line of a watch that failed."""
    return b'{"type":"ERROR","object":' + orjson.dumps(status) + b"}\n"
