"""The journal on disk: a table of records in SQLite, written by a thread of its own.

Group commit: the thread takes everything that was handed over while it was writing, and stores it with one
multi-row INSERT, which is one transaction. One statement also means that the interpreter lock is given up
and taken back once per batch, not once per row, so a busy event loop does not slow the writer down.

The table is a log keyed by revision. Each record says which revision it supersedes; superseded records
(and the markers of deletions) are removed once they are `kept` revisions old, so the file holds the present
plus a bounded past, there is never a snapshot to write, and a replay reads both in one scan. A transaction
that a crash tore apart is ignored by SQLite as a whole.

synchronous=NORMAL: with write-ahead logging a killed process loses nothing that was committed; only a
power failure of the whole machine may lose the last moments. `durable_on_power_loss` chooses FULL (one
fsync per batch).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

from cluster.store.journal import JournalFailed, Record, Replay

KEPT_REVISIONS = 5_000
"""How much of the past survives a restart, for watches that resume."""
_CLEAN_EVERY = 1_000
"""Superseded records are removed in batches of this size."""
_ROWS_PER_STATEMENT = 2_000
_COLUMNS = 7

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY, qualified TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    cause TEXT NOT NULL, superseded INTEGER NOT NULL, object BLOB
);
CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO floor VALUES (0, 0);
"""


class _Batch:
    __slots__ = ("loop", "on_durable", "on_failed", "records")

    def __init__(
        self,
        records: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.records = records
        self.on_durable = on_durable
        self.on_failed = on_failed
        self.loop = loop


class SqliteJournal:
    """Implements `Journal`."""

    synchronous = False

    def __init__(
        self, path: Path, *, kept: int = KEPT_REVISIONS, durable_on_power_loss: bool = False
    ) -> None:
        self._kept = kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={'FULL' if durable_on_power_loss else 'NORMAL'}")
        self._database.executescript(_SCHEMA)
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._removable: deque[tuple[int, int]] = deque()
        """(revision from which on a record is superseded, that record's revision), ascending."""
        self._closed = False

    def replay(self) -> Replay:
        floor: int = self._database.execute("SELECT revision FROM floor").fetchone()[0]
        return Replay(self._read(), floor)

    def _read(self) -> Iterator[Record]:
        rows = self._database.execute(
            "SELECT revision, qualified, namespace, name, cause, superseded, object FROM log "
            "ORDER BY revision"
        )
        for row in rows:
            record = Record._make(row)
            self._note(record)
            yield record

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
            self._thread.start()
        self._queue.put(_Batch(batch, on_durable, on_failed, asyncio.get_running_loop()))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._database.close()

    # --- in the writer thread

    def _write(self) -> None:
        ending = False
        while not ending:
            batches: list[_Batch] = []
            found = self._queue.get()
            while True:
                if found is None:
                    ending = True
                else:
                    batches.append(found)
                if ending or self._queue.empty():
                    break
                found = self._queue.get()
            if batches and not self._commit(batches):
                return

    def _commit(self, batches: list[_Batch]) -> bool:
        records = [record for batch in batches for record in batch.records]
        last = batches[-1]
        try:
            self._insert(records)
            for record in records:
                self._note(record)
            self._clean(records[-1].revision)
        except sqlite3.Error as error:
            _call(last.loop, last.on_failed, JournalFailed(f"the journal can't be written: {error}"))
            return False
        _call(last.loop, last.on_durable, records[-1].revision)
        return True

    def _insert(self, records: list[Record]) -> None:
        for start in range(0, len(records), _ROWS_PER_STATEMENT):
            chunk = records[start : start + _ROWS_PER_STATEMENT]
            row = "(" + ",".join("?" * _COLUMNS) + ")"
            values = [value for record in chunk for value in record]
            self._database.execute("INSERT INTO log VALUES " + ",".join([row] * len(chunk)), values)

    def _note(self, record: Record) -> None:
        """Remembers what this record makes superfluous."""
        if record.superseded:
            self._removable.append((record.revision, record.superseded))
        if record.object is None:
            self._removable.append((record.revision, record.revision))

    def _clean(self, revision: int) -> None:
        floor = revision - self._kept
        removable = self._removable
        if len(removable) < _CLEAN_EVERY or removable[_CLEAN_EVERY - 1][0] > floor:
            return
        superseded = []
        while removable and removable[0][0] <= floor:
            superseded.append(removable.popleft()[1])
        with self._transaction():
            self._database.execute("UPDATE floor SET revision = ?", (floor,))
            for start in range(0, len(superseded), _ROWS_PER_STATEMENT):
                chunk = superseded[start : start + _ROWS_PER_STATEMENT]
                marks = ",".join("?" * len(chunk))
                self._database.execute(f"DELETE FROM log WHERE revision IN ({marks})", chunk)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """BEGIN … COMMIT, or ROLLBACK on an error."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, argument)
