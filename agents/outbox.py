"""Pod statuses on their way up: what changed, in numbered reports, until the gateway has stored them.

Pure bookkeeping. The newest status of a pod replaces an older one that was not sent yet; a pod that left
the node is reported once more with None. After a registration everything is told again (`full`), which
makes unacknowledged reports of the old session moot.
"""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.api.wire import PodReport, PodStatuses

MAX_REPORTS = 100
"""Pods per message, so that a packet stays well under what brokers take."""


class Outbox:
    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._session = ""
        self._sequence = 0
        self._stored = 0
        self._accepted = 0
        self._current: dict[str, PodReport] = {}
        """The newest status of every pod that is here, and of those whose leaving is not stored."""
        self._dirty: dict[str, PodReport] = {}
        self._last: dict[str, PodReport] = {}
        """The last status of pods that leave, always sent ahead of the None."""
        self._leaving: dict[str, int] = {}
        """Uid → the number of the report that says it left; 0 while unsent."""

    def report(self, uid: str, namespace: str, name: str, status: Object) -> None:
        entry = PodReport(uid=uid, namespace=namespace, name=name, status=status)
        self._current[uid] = self._dirty[uid] = entry
        self._leaving.pop(uid, None)
        self._last.pop(uid, None)

    def gone(self, uid: str, namespace: str, name: str) -> None:
        last = self._current.get(uid)
        if last is not None and last.status is not None:
            self._last[uid] = last
        entry = PodReport(uid=uid, namespace=namespace, name=name, status=None)
        self._current[uid] = self._dirty[uid] = entry
        self._leaving[uid] = 0

    @property
    def pending(self) -> bool:
        return bool(self._session) and bool(self._dirty)

    @property
    def sent(self) -> int:
        """The number of the newest report of this session."""
        return self._sequence

    @property
    def confirmed(self) -> int:
        """Everything up to here is stored, in this session."""
        return self._stored

    @property
    def accepted(self) -> int:
        """Everything up to here has reached the gateway, in this session."""
        return self._accepted

    def missing(self, sequence: int) -> bool:
        """Whether the report with this number is not acknowledged."""
        return bool(self._session) and self._stored < sequence

    def begin(self, session: str) -> list[PodStatuses]:
        """The full report that opens a session, followed by the rest where it is too long for one."""
        self._session, self._sequence, self._stored, self._accepted = session, 0, 0, 0
        self._dirty = dict(self._current)
        return self.take(full=True)

    def end(self) -> None:
        """The session is over; nothing can be sent until the next one."""
        self._session = ""

    def take(self, *, full: bool = False) -> list[PodStatuses]:
        """Everything that changed, as messages to send."""
        entries: list[PodReport] = []
        for uid, entry in self._dirty.items():
            if entry.status is None and uid in self._last:
                entries.append(self._last[uid])
            entries.append(entry)
        self._dirty = {}
        messages = []
        for start in range(0, max(len(entries), 1), MAX_REPORTS):
            self._sequence += 1
            part = entries[start : start + MAX_REPORTS]
            for entry in part:
                if entry.status is None:
                    self._leaving[entry.uid] = self._sequence
            messages.append(
                PodStatuses(
                    epoch=self._epoch,
                    session=self._session,
                    sequence=self._sequence,
                    full=full and start == 0 and len(entries) <= MAX_REPORTS,
                    statuses=part,
                )
            )
        return messages

    def stored(self, session: str, sequence: int, accepted: int = 0) -> None:
        """The gateway has everything up to `accepted`, and made everything up to `sequence` durable."""
        if session != self._session:
            return
        self._stored = max(self._stored, sequence)
        self._accepted = max(self._accepted, accepted, sequence)
        for uid in [uid for uid, number in self._leaving.items() if 0 < number <= sequence]:
            del self._leaving[uid]
            self._current.pop(uid, None)
            self._last.pop(uid, None)
