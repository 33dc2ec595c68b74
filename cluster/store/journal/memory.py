"""The journal that forgets: for simulations and tests. Durable the moment it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.store.journal import JournalFailed, Record, Replay


class MemoryJournal:
    """Implements `Journal`. With `keep` it can be replayed, so that a simulated control plane can crash."""

    synchronous = True

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._records: list[Record] = []

    def replay(self) -> Replay:
        return Replay(list(self._records), 0)

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        if self._keep:
            self._records.extend(batch)
        on_durable(batch[-1].revision)

    def close(self) -> None:
        """Nothing to release."""
