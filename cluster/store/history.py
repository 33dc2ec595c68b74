"""The recent past of one resource: what watches resume from and what paged lists are read out of.

A bounded ring of changes. A list at an earlier revision is the present with the later changes undone, so
nothing has to be copied or kept for a page token that nobody may ever bring back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from cluster.api.objects import Key
from cluster.store.entry import Change, Entry

HISTORY_LIMIT = 8192
"""Changes kept per resource; a watch from before them gets 410 Gone and lists again."""


class Compacted(Exception):
    """The history does not reach back that far."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is older than {oldest}")
        self.asked = asked
        self.oldest = oldest


class History:
    """Changes of one resource in order of revision."""

    def __init__(self, limit: int = HISTORY_LIMIT, floor: int = 0) -> None:
        self._limit = limit
        self._changes: list[Change] = []
        self.floor = floor
        """Changes up to this revision may be missing."""

    def append(self, change: Change) -> None:
        changes = self._changes
        changes.append(change)
        if len(changes) >= 2 * self._limit:  # dropped in halves: O(1) per change
            self.floor = changes[-self._limit - 1].revision
            del changes[: -self._limit]

    def since(self, revision: int) -> Sequence[Change]:
        """The changes after `revision`. Raises Compacted."""
        if revision < self.floor:
            raise Compacted(revision, self.floor)
        start = bisect_right(self._changes, revision, key=_revision)
        return self._changes[start:]

    def undo(self, present: Iterable[Entry], namespace: str, revision: int) -> Sequence[Entry]:
        """What `present` was at `revision`, in order. Raises Compacted."""
        state: dict[Key, Entry] = {entry.key: entry for entry in present}
        later = self.since(revision)
        if not later:
            return list(state.values())
        for change in reversed(later):
            key = change.entry.key
            if namespace and key.namespace != namespace:
                continue
            if change.previous is None:
                state.pop(key, None)
            else:
                state[key] = change.previous
        return [state[key] for key in sorted(state)]


def _revision(change: Change) -> int:
    return change.revision
