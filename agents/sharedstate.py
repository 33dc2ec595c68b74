"""What every node is told alike: Services, EndpointSlices and whatever else the whole cluster knows.

Pure bookkeeping of `Shared` deltas and of the snapshots that heal gaps. Deltas that come while a snapshot is
on its way are kept, up to a limit, and follow it. What came with a higher number than is known, or from
another start of the gateway, makes a snapshot necessary: `stale` says so, `ask` opens a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cluster.api.objects import Object
from cluster.api.wire import Removed, Shared, SharedMark, SharedSnapshot, object_of

Name = tuple[str, str, str]
"""Kind, namespace, name."""

MAX_EARLY = 1_000
"""Deltas kept for a snapshot that is on its way; with more, another one is asked for."""


class SharedState:
    def __init__(self) -> None:
        self.instance = ""
        self.sequence = 0
        self.stale = True
        """A snapshot is needed."""
        self.request = ""
        """The snapshot that was asked for; empty while none is."""
        self.objects: dict[Name, Object] = {}
        self._of_kind: dict[str, list[Object]] = {}
        self._early: list[Shared] = []
        self._parts: list[Object] = []
        self._next_part = 0

    @property
    def synced(self) -> bool:
        """Everything was known once; it may be stale by now."""
        return bool(self.instance)

    def ask(self, request: str) -> None:
        """A snapshot is asked for under this name; an older request is forgotten."""
        self.request = request
        self._parts, self._next_part = [], 0

    def mark(self, message: SharedMark) -> None:
        if message.instance != self.instance or message.sequence > self.sequence:
            self.stale = True

    def delta(self, message: Shared) -> list[Name]:
        """What changed."""
        if self.stale or message.instance != self.instance:
            self._keep(message)
            return []
        if message.sequence <= self.sequence:
            return []
        if message.sequence != self.sequence + 1:
            self._keep(message)
            return []
        self.sequence = message.sequence
        return self._apply(message.removed, map(object_of, message.texts))

    def snapshot(self, message: SharedSnapshot) -> list[Name]:
        """What changed, once the last part is there."""
        if message.request != self.request or message.part != self._next_part:
            return []
        self._next_part += 1
        self._parts += map(object_of, message.texts)
        if message.more:
            return []
        parts, self._parts = self._parts, []
        changed = self._replace(parts)
        self.instance, self.sequence = message.instance, message.sequence
        self.stale, self.request = False, ""
        early, self._early = self._early, []
        for delta in early:
            if delta.instance == self.instance:
                changed += self.delta(delta)
        return changed

    def of_kind(self, kind: str) -> Sequence[Object]:
        """Sorted by namespace and name, so that nothing depends on the order of arrival."""
        found = self._of_kind.get(kind)
        if found is None:
            names = sorted(name for name in self.objects if name[0] == kind)
            found = self._of_kind[kind] = [self.objects[name] for name in names]
        return found

    def _keep(self, message: Shared) -> None:
        self.stale = True
        if len(self._early) >= MAX_EARLY:
            self._early.clear()
        self._early.append(message)

    def _replace(self, objects: Iterable[Object]) -> list[Name]:
        fresh = {_name(obj): obj for obj in objects}
        changed = [name for name, obj in fresh.items() if _version(self.objects.get(name)) != _version(obj)]
        changed += [name for name in self.objects if name not in fresh]
        self.objects = fresh
        self._of_kind.clear()
        return changed

    def _apply(self, removed: Iterable[Removed], objects: Iterable[Object]) -> list[Name]:
        changed: list[Name] = []
        for gone in removed:
            name = (gone.kind, gone.namespace, gone.name)
            if self.objects.pop(name, None) is not None:
                changed.append(name)
        for obj in objects:
            name = _name(obj)
            self.objects[name] = obj
            changed.append(name)
        for kind, _, _ in changed:
            self._of_kind.pop(kind, None)
        return changed


def _name(obj: Object) -> Name:
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace", ""), meta["name"]


def _version(obj: Object | None) -> tuple[str, str] | None:
    if obj is None:
        return None
    meta = obj["metadata"]
    return meta.get("uid", ""), meta.get("resourceVersion", "")
