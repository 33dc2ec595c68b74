"""What makes writes survive: a log of records, handed over in batches, replayed at the start.

The store writes memory first and tells nobody before the journal has called `on_durable`. A journal keeps,
for every object that exists, at least its latest record, and for the last `kept` revisions all of them, so
that watches can resume after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One write."""

    revision: int
    qualified: str
    namespace: str
    name: str
    cause: str
    superseded: int
    """Revision of the record that this one replaces; 0 for a new object."""
    object: bytes | None
    """The JSON text; None for a deletion."""


class Replay(NamedTuple):
    """What was found at the start."""

    records: Iterable[Record]
    """In order of revision."""
    floor: int
    """Up to this revision only the latest record of each object is there."""


class JournalFailed(Exception):
    """A batch could not be written: what memory holds and what is acknowledged part ways here, so the
    process has to end."""


class Journal(Protocol):
    """Implementations: `memory.MemoryJournal`, `sqlite.SqliteJournal`."""

    synchronous: bool
    """True when `append` returns only after the batch is durable."""

    def replay(self) -> Replay:
        """Everything durable. Called once, before the first `append`."""

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        """Takes a batch (revisions ascending, never empty) without blocking. `on_durable` is called with
        the batch's last revision once it and all before it are durable, in the caller's thread: from
        within `append` if synchronous, through the running loop otherwise. After `on_failed` nothing more
        is written."""

    def close(self) -> None:
        """Waits until everything handed over is durable, and releases the files. Idempotent."""
