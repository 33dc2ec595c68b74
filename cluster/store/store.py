"""The state of the cluster: objects in memory under one global revision, made durable by a journal.

A write changes memory at once and gets the next revision. In the same turn of the event loop all writes
are collected into one batch for the journal; when the journal says that a batch is durable, waiters of
`durable` go on and subscribers get the batch, in order of revision. So nobody outside hears of a write that
a crash could take back, and a slow disk makes batches bigger instead of making writers queue one by one.

Single-threaded: everything here runs in the event loop's thread, and reads need no lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import orjson

from broker.cause import current_cause
from broker.clock import Clock
from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.store.entry import Change, Entry, with_revision
from cluster.store.history import HISTORY_LIMIT, Compacted, History
from cluster.store.journal import Journal, JournalFailed, Record
from cluster.store.table import IndexFunction, Table

PENDING_LIMIT = 20_000
"""Writes that may wait for the journal; beyond it a write raises Overloaded."""
COMPACTION_AGE = timedelta(minutes=5)
"""Revisions older than this are refused to page tokens, as etcd's compaction does."""
_MARK_SPACING = timedelta(seconds=10)

Subscriber: TypeAlias = Callable[[Sequence[Change]], None]


class Overloaded(Exception):
    """The journal is too far behind."""


class Stale(Exception):
    """The object is not the version that the write was prepared from."""


class MutationDetected(Exception):
    """Somebody changed an object that belongs to the store (only in verifying stores)."""


class Store:
    """See the module. `verify` re-serialises each version when it is published and when it is replaced,
    and raises MutationDetected if it differs from its cached text; for tests."""

    def __init__(
        self, journal: Journal, *, clock: Clock, verify: bool = False, history_limit: int = HISTORY_LIMIT
    ) -> None:
        self.revision = 0
        self.durable_revision = 0
        self.compacted_revision = 0
        """Lists and page tokens at or before this revision are expired."""
        self._journal = journal
        self._clock = clock
        self._verify = verify
        self._history_limit = history_limit
        self._floor = 0
        self._tables: dict[str, Table] = {}
        self._histories: dict[str, History] = {}
        self._default_indexes: dict[str, IndexFunction] = {"owner": _owner_uids}
        self._pending: deque[Change] = deque()
        self._unwritten: list[Change] = []
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._subscribers: list[Subscriber] = []
        self._flush_due = False
        self._publish_due = False
        self._failure: JournalFailed | None = None
        self._failed = asyncio.Event()
        self._marks: deque[tuple[datetime, int]] = deque()
        self._replay()
        self.add_index("pods", "node", _node_name)

    # --- reading

    def get(self, qualified: str, key: Key) -> Entry | None:
        table = self._tables.get(qualified)
        return None if table is None else table.get(key)

    def list(self, qualified: str, namespace: str = "") -> Sequence[Entry]:
        """In order of namespace and name; all namespaces if empty. The caller must not change the list."""
        table = self._tables.get(qualified)
        return () if table is None else table.list(namespace)

    def list_at(self, qualified: str, namespace: str, revision: int) -> Sequence[Entry]:
        """The list as it was at an earlier revision. Raises Compacted."""
        self._forget_old()
        if revision < self.compacted_revision:
            raise Compacted(revision, self.compacted_revision)
        present = self.list(qualified, namespace)
        return self._history(qualified).undo(present, namespace, revision)

    def by_index(self, qualified: str, index: str, value: str) -> Sequence[Entry]:
        """In the order in which the entries got the value. KeyError for an index nobody added."""
        return self._table(qualified).by_index(index, value)

    def by_label(self, qualified: str, label: str, value: str, namespace: str = "") -> Sequence[Entry]:
        """The entries with this label; the index for `label` is made at the first question."""
        table = self._table(qualified)
        name = f"label:{label}"
        if not table.has_index(name):
            table.add_index(name, _label_function(label))
        found = table.by_index(name, value)
        return [e for e in found if e.key.namespace == namespace] if namespace else found

    def owned_by(self, uid: str) -> Sequence[Entry]:
        """Everything with an ownerReference to `uid`, of all resources."""
        return [e for table in self._tables.values() for e in table.by_index("owner", uid)]

    def add_index(self, qualified: str, name: str, function: IndexFunction) -> None:
        """Adds and fills a secondary index; a name that is there already stays as it is."""
        self._table(qualified).add_index(name, function)

    def count(self, qualified: str) -> int:
        table = self._tables.get(qualified)
        return 0 if table is None else len(table)

    def resources(self) -> Sequence[str]:
        """The qualified names of everything ever stored, in order of first use."""
        return list(self._tables)

    def last_write(self, qualified: str) -> int:
        """Revision of the last write to this resource: a cache key for whatever is made of its list."""
        table = self._tables.get(qualified)
        return 0 if table is None else table.revision

    def changes_since(self, qualified: str, revision: int) -> Sequence[Change]:
        """The published changes after `revision`. Raises Compacted."""
        changes = self._history(qualified).since(revision)
        published = self.durable_revision
        if not changes or changes[-1].revision <= published:
            return changes
        return [change for change in changes if change.revision <= published]

    # --- writing

    def put(self, qualified: str, key: Key, obj: Object, previous: Entry | None) -> Entry:
        """Stores a new version made from `previous` (None: a new object). Owns `obj` from here on and
        writes its resourceVersion. Raises Stale, Overloaded."""
        table = self._table(qualified)
        current = table.get(key)
        if current is not previous:
            raise Stale
        revision = self._next_revision()
        obj["metadata"]["resourceVersion"] = str(revision)
        entry = Entry(qualified, key, obj, revision)
        table.put(entry, previous)
        kind = EventType.ADDED if previous is None else EventType.MODIFIED
        self._record(Change(kind, entry, previous, current_cause() or f"w-{revision}"))
        return entry

    def remove(self, previous: Entry, last: Object | None = None) -> Entry:
        """Removes an object; `last` is its final state if it differs from the stored one. Returns that,
        with the deletion's revision. Raises Stale, Overloaded."""
        table = self._table(previous.qualified)
        if table.get(previous.key) is not previous:
            raise Stale
        revision = self._next_revision()
        entry = Entry(
            previous.qualified, previous.key, with_revision(last or previous.object, revision), revision
        )
        table.remove(previous, revision)
        self._record(Change(EventType.DELETED, entry, previous, current_cause() or f"w-{revision}"))
        return entry

    async def durable(self, revision: int) -> None:
        """Returns when everything up to `revision` is durable. Raises JournalFailed."""
        if revision <= self.durable_revision or self._journal.synchronous:
            return
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        await future

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber` with every batch of changes from now on. It must be quick, must not raise and
        must not write. Returns what ends the subscription."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def flush(self) -> None:
        """Hands what was written to the journal now, and publishes what is durable."""
        self._flush_due = False
        if self._unwritten:
            batch, self._unwritten = self._unwritten, []
            self._journal.append([_record(change) for change in batch], self._on_durable, self._on_failed)
        if self._journal.synchronous:
            self._publish()

    def verify(self) -> None:
        """Looks at every present object. Raises MutationDetected."""
        for qualified in self._tables:
            for entry in self.list(qualified):
                if not entry.intact():
                    raise MutationDetected(f"{entry!r} was changed after it was stored")

    def close(self) -> None:
        """Makes everything durable and closes the journal."""
        self.flush()
        self._journal.close()

    # --- inside

    def _next_revision(self) -> int:
        if len(self._pending) >= PENDING_LIMIT:
            raise Overloaded(f"{len(self._pending)} writes are waiting for the journal")
        if self._failure is not None:
            raise self._failure
        self.revision += 1
        return self.revision

    def _record(self, change: Change) -> None:
        if self._verify:
            _check(change)
        self._history(change.entry.qualified).append(change)
        self._pending.append(change)
        self._unwritten.append(change)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _on_durable(self, revision: int) -> None:
        self.durable_revision = revision
        waiters = self._waiters
        while waiters and waiters[0][0] <= revision:
            future = waiters.popleft()[1]
            if not future.done():
                future.set_result(None)
        if not self._journal.synchronous:
            self._publish()

    @property
    def failure(self) -> JournalFailed | None:
        """Why nothing can be written any more."""
        return self._failure

    async def failed(self) -> None:
        """Waits until the journal is broken, and raises that JournalFailed."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def _on_failed(self, failure: JournalFailed) -> None:
        self._failure = failure
        self._failed.set()
        while self._waiters:
            future = self._waiters.popleft()[1]
            if not future.done():
                future.set_exception(failure)

    def _publish(self) -> None:
        pending, revision = self._pending, self.durable_revision
        batch: list[Change] = []
        while pending and pending[0].revision <= revision:
            batch.append(pending.popleft())
        if not batch:
            return
        if self._verify:
            for change in batch:
                _check(change)
        self._mark()
        for subscriber in tuple(self._subscribers):
            subscriber(batch)

    def _mark(self) -> None:
        now = self._clock.now()
        if not self._marks or now - self._marks[-1][0] >= _MARK_SPACING:
            self._marks.append((now, self.revision))
            self._forget_old()

    def _forget_old(self) -> None:
        oldest = self._clock.now() - COMPACTION_AGE
        while self._marks and self._marks[0][0] <= oldest:
            self.compacted_revision = self._marks.popleft()[1]

    def _table(self, qualified: str) -> Table:
        table = self._tables.get(qualified)
        if table is None:
            table = self._tables[qualified] = Table()
            for name, function in self._default_indexes.items():
                table.add_index(name, function)
        return table

    def _history(self, qualified: str) -> History:
        history = self._histories.get(qualified)
        if history is None:
            history = self._histories[qualified] = History(self._history_limit, self._floor)
        return history

    def _replay(self) -> None:
        records, self._floor = self._journal.replay()
        for record in records:
            self.revision = self.durable_revision = record.revision
            self._restore(record)

    def _restore(self, record: Record) -> None:
        table = self._table(record.qualified)
        key = Key(record.namespace, record.name)
        previous = table.get(key)
        if record.object is not None:
            obj = orjson.loads(record.object)
            entry = Entry(record.qualified, key, obj, record.revision, record.object)
            table.put(entry, previous)
            kind = EventType.ADDED if previous is None else EventType.MODIFIED
        elif previous is not None:
            entry = Entry(
                record.qualified, key, with_revision(previous.object, record.revision), record.revision
            )
            table.remove(previous, record.revision)
            kind = EventType.DELETED
        else:
            return  # a deletion of which compaction has left only the tombstone
        if record.revision > self._floor:
            self._history(record.qualified).append(Change(kind, entry, previous, record.cause))


def _record(change: Change) -> Record:
    entry, previous = change.entry, change.previous
    return Record(
        change.revision,
        entry.qualified,
        entry.key.namespace,
        entry.key.name,
        change.cause,
        0 if previous is None else previous.revision,
        None if change.type is EventType.DELETED else entry.json,
    )


def _check(change: Change) -> None:
    """Fixes the text of a new version, and fails when an earlier one was mutated."""
    for entry in (change.entry, change.previous):
        if entry is not None and (not entry.intact() or not entry.json):
            raise MutationDetected(f"{entry!r} was changed after it was stored")


def _owner_uids(obj: Any) -> Sequence[str]:
    references = obj["metadata"].get("ownerReferences")
    return [reference["uid"] for reference in references] if references else ()


def _node_name(obj: Any) -> Sequence[str]:
    name = obj["spec"].get("nodeName")
    return (name,) if name else ()


def _label_function(label: str) -> IndexFunction:
    def values(obj: Any) -> Sequence[str]:
        labels = obj["metadata"].get("labels")
        value = labels.get(label) if labels else None
        return () if value is None else (value,)

    return values
