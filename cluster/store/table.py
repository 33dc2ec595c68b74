"""The present objects of one resource: by key, in order, and by secondary index.

Names are kept sorted per namespace, so a list costs no sort. The list of entries is cached until the next
write in that namespace. An index maps a value to keys, not to entries: an update that leaves the indexed
value alone (nearly all of them) costs one comparison.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from cluster.api.objects import Key
from cluster.store.entry import Entry

IndexFunction: TypeAlias = Callable[[Mapping[str, Any]], Sequence[str]]
"""The values under which an object is found; cheap, called twice per write."""


class _Namespace:
    __slots__ = ("entries", "listed", "names")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.names: list[str] = []
        self.listed: list[Entry] | None = None

    def ordered(self) -> list[Entry]:
        listed = self.listed
        if listed is None:
            entries = self.entries
            listed = self.listed = [entries[name] for name in self.names]
        return listed


class _Index:
    __slots__ = ("function", "keys")

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        self.keys: dict[str, dict[Key, None]] = {}

    def change(self, key: Key, new: Mapping[str, Any] | None, old: Mapping[str, Any] | None) -> None:
        after = self.function(new) if new is not None else ()
        before = self.function(old) if old is not None else ()
        if after == before:
            return
        for value in before:
            held = self.keys.get(value)
            if held is not None:  # an object may name a value twice
                held.pop(key, None)
                if not held:
                    del self.keys[value]
        for value in after:
            self.keys.setdefault(value, {})[key] = None


class Table:
    """All objects of one resource."""

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._names: list[str] = []
        self._everything: list[Entry] | None = None
        self._indexes: dict[str, _Index] = {}
        self.revision = 0
        """Of the last write to this resource."""

    def __len__(self) -> int:
        return sum(len(found.names) for found in self._namespaces.values())

    def get(self, key: Key) -> Entry | None:
        found = self._namespaces.get(key[0])
        return None if found is None else found.entries.get(key[1])

    def list(self, namespace: str) -> Sequence[Entry]:
        """In order of namespace and name; empty `namespace` means all. The caller must not change it."""
        if namespace:
            found = self._namespaces.get(namespace)
            return () if found is None else found.ordered()
        if self._everything is None:
            self._everything = [e for name in self._names for e in self._namespaces[name].ordered()]
        return self._everything

    def put(self, entry: Entry, previous: Entry | None) -> None:
        namespace, name = entry.key
        found = self._namespaces.get(namespace)
        if found is None:
            found = self._namespaces[namespace] = _Namespace()
            insort(self._names, namespace)
        if previous is None:
            insort(found.names, name)
        found.entries[name] = entry
        self._written(found, entry.revision)
        old = None if previous is None else previous.object
        for index in self._indexes.values():
            index.change(entry.key, entry.object, old)

    def remove(self, previous: Entry, revision: int) -> None:
        namespace, name = previous.key
        found = self._namespaces[namespace]
        del found.entries[name]
        del found.names[bisect_left(found.names, name)]
        if not found.names:
            del self._namespaces[namespace]
            del self._names[bisect_left(self._names, namespace)]
        self._written(found, revision)
        for index in self._indexes.values():
            index.change(previous.key, None, previous.object)

    def _written(self, found: _Namespace, revision: int) -> None:
        found.listed = None
        self._everything = None
        self.revision = revision

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Adds an index and fills it; the same name again changes nothing."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for entry in self.list(""):
            index.change(entry.key, entry.object, None)

    def has_index(self, name: str) -> bool:
        return name in self._indexes

    def by_index(self, name: str, value: str) -> Sequence[Entry]:
        """The entries with this value, in the order in which they got it."""
        keys = self._indexes[name].keys.get(value)
        if keys is None:
            return ()
        namespaces = self._namespaces
        return [namespaces[namespace].entries[found] for namespace, found in keys]
