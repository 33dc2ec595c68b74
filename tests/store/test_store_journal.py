"""The SQLite journal: what was acknowledged is there again, whatever ended the process."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from broker.clock import SystemClock
from cluster.api.objects import Key
from cluster.store.history import Compacted
from cluster.store.journal.sqlite import SqliteJournal
from cluster.store.store import Store


def opened(path: Path, **options: int) -> Store:
    return Store(SqliteJournal(path, **options), clock=SystemClock(), verify=True)


async def put(store: Store, name: str, value: int = 0) -> int:
    key = Key("default", name)
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": {}, "value": value}
    entry = store.put("pods", key, body, store.get("pods", key))
    await store.durable(entry.revision)
    return entry.revision


def written_ahead(path: Path) -> int:
    return path.with_name("journal.db-wal").stat().st_size


def crash_copy(folder: Path) -> Path:
    """The files as a crash would leave them: without what lives in shared memory."""
    copy = folder / "crashed"
    copy.mkdir()
    for file in sorted(folder.glob("journal.db*")):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copy)
    return copy


def contents(store: Store) -> list[tuple[str, int, bytes]]:
    return [(str(e.key), e.revision, e.json) for e in store.list("pods")]


async def test_replay_gives_the_identical_state(tmp_path: Path) -> None:
    """Objects, their bytes, the revision, and the changes for watches that resume."""
    store = opened(tmp_path / "journal.db")
    await asyncio.gather(*(put(store, f"p{n}", n) for n in range(20)))
    await put(store, "p3", 99)
    gone = store.get("pods", Key("default", "p4"))
    assert gone is not None
    await store.durable(store.remove(gone).revision)
    before, revision = contents(store), store.revision
    changes = [(c.type, c.revision, c.cause) for c in store.changes_since("pods", 0)]
    store.close()
    again = opened(tmp_path / "journal.db")
    assert contents(again) == before
    assert again.revision == again.durable_revision == revision
    assert [(c.type, c.revision, c.cause) for c in again.changes_since("pods", 0)] == changes
    assert await put(again, "later") == revision + 1
    again.close()


async def test_compaction_keeps_the_present_and_the_revision(tmp_path: Path) -> None:
    """Thousands of updates of few objects leave a small file, and the past is honestly gone."""
    path = tmp_path / "journal.db"
    store = opened(path, kept=50)
    for round_ in range(60):
        await asyncio.gather(*(put(store, f"p{n}", round_) for n in range(50)))
    last = store.get("pods", Key("default", "p0"))
    assert last is not None
    await store.durable(store.remove(last).revision)
    before, revision = contents(store), store.revision
    store.close()
    journal = SqliteJournal(path)
    records = list(journal.replay().records)
    journal.close()
    assert len(records) < 2_000
    again = opened(path)
    assert contents(again) == before
    assert again.revision == revision
    with pytest.raises(Compacted):
        again.changes_since("pods", 10)
    again.close()


async def test_torn_last_transaction_is_harmless(tmp_path: Path) -> None:
    """A log that ends in the middle of a commit gives the state before that commit."""
    path = tmp_path / "journal.db"
    store = opened(path)
    await put(store, "kept", 1)
    size = written_ahead(path)
    await put(store, "torn", 2)
    copy = crash_copy(tmp_path)
    store.close()
    wal = copy / "journal.db-wal"
    torn = (size + wal.stat().st_size) // 2
    wal.write_bytes(wal.read_bytes()[:torn])
    again = opened(copy / "journal.db")
    assert [name for name, _, _ in contents(again)] == ["default/kept"]
    assert again.revision == 1
    again.close()


_WRITER = """
    import asyncio, sys
    from pathlib import Path
    from broker.clock import SystemClock
    from cluster.api.objects import Key
    from cluster.store.journal.sqlite import SqliteJournal
    from cluster.store.store import Store

    async def main():
        store = Store(SqliteJournal(Path(sys.argv[1])), clock=SystemClock())
        for number in range(100_000):
            body = {"metadata": {"name": f"p{number}", "namespace": "default"}, "spec": {}}
            entry = store.put("pods", Key("default", f"p{number}"), body, None)
            await store.durable(entry.revision)
            print(entry.revision, flush=True)

    asyncio.run(main())
"""


def test_killed_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: every revision that was acknowledged is in the file."""
    path = tmp_path / "journal.db"
    command = [sys.executable, "-c", textwrap.dedent(_WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = 0
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= 300:
                break
        process.kill()
        rest = process.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
    store = opened(path)
    assert store.revision >= acknowledged
    assert store.count("pods") == store.revision
    store.close()
