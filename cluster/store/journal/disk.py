"""A simulated disk, and a journal on it that can crash.

The disk outlives the controller managers that write to it; each of them opens a journal of its own.
A commit takes a random time, and what is handed over meanwhile waits and becomes the next one, as with
the SQLite journal. A crash loses what waits. The commit under way may have reached the disk or not, as a
whole: a transaction is never torn.

As on the real disk, what was superseded `KEPT_REVISIONS` ago is removed now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from broker.chance import Chance
from cluster.store.journal import JournalFailed, Record, Replay

KEPT_REVISIONS = 200
"""Few, so that simulations get to places where the past is gone."""
COMMIT_S = (0.0001, 0.003)
"""How long a commit takes."""


class Disk:
    """What is durable."""

    def __init__(self, chance: Chance, *, commit_s: tuple[float, float] = COMMIT_S) -> None:
        self._chance = chance
        self._commit_s = commit_s
        self.records: list[Record] = []
        self.floor = 0
        """Up to this revision only the latest record of each object is there."""

    def journal(self) -> DiskJournal:
        return DiskJournal(self)

    def write(self, records: Sequence[Record]) -> None:
        self.records.extend(records)
        newest = self.records[-1].revision
        if newest - self.floor >= 2 * KEPT_REVISIONS:
            self._clean(newest - KEPT_REVISIONS)

    def _clean(self, floor: int) -> None:
        """Leaves of every object its latest record up to the floor, unless that is its deletion."""
        gone = {record.superseded for record in self.records if record.revision <= floor}
        self.records = [
            record
            for record in self.records
            if record.revision > floor or (record.object is not None and record.revision not in gone)
        ]
        self.floor = floor

    def commit_time(self) -> float:
        return self._chance.uniform(*self._commit_s)

    def got_through(self) -> bool:
        """Whether a commit that a crash interrupted was complete."""
        return self._chance.random() < 0.5


class DiskJournal:
    """Implements `Journal`."""

    synchronous = False

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._waiting: list[Record] = []
        self._writing: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        self._on_durable: Callable[[int], None] = _nobody
        self._closed = False

    def replay(self) -> Replay:
        return Replay(list(self._disk.records), self._disk.floor)

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        if self._closed:
            return
        self._waiting.extend(batch)
        self._on_durable = on_durable
        if self._timer is None:
            self._begin()

    def crash(self) -> None:
        """The process that wrote is gone: nobody is told anything any more."""
        if self._writing and self._disk.got_through():
            self._disk.write(self._writing)
        self._abandon()

    def close(self) -> None:
        if self._writing or self._waiting:
            self._disk.write([*self._writing, *self._waiting])
        self._abandon()

    def _abandon(self) -> None:
        self._closed = True
        self._writing, self._waiting = [], []
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._writing, self._waiting = self._waiting, []
        self._timer = asyncio.get_running_loop().call_later(self._disk.commit_time(), self._commit)

    def _commit(self) -> None:
        self._timer = None
        written, self._writing = self._writing, []
        self._disk.write(written)
        if self._waiting:
            self._begin()
        self._on_durable(written[-1].revision)


def _nobody(revision: int) -> None:
    """Before the first batch there is nobody to tell."""
