"""What a client was promised.

Each write puts its number into an annotation of the object. A write is acknowledged, refused, or open:
the connection broke before an answer came, and it may or may not have happened. What the store has must
be the last acknowledged write of the object, or an open one after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.api.objects import Key, Object

ANNOTATION = "drill.kubemu.dev/write"
DELETED = 0
"""The "number" of an object that is gone or on its way out."""


@dataclass(slots=True)
class _Account:
    acknowledged: int = DELETED
    open: list[int] = field(default_factory=list)


class Ledger:
    def __init__(self) -> None:
        self._accounts: dict[tuple[str, Key], _Account] = {}
        self._number = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def attempted(self, kind: str, key: Key, number: int) -> None:
        """From now on it may have happened."""
        account = self._account(kind, key)
        if number not in account.open:
            account.open.append(number)

    def acknowledged(self, kind: str, key: Key, number: int) -> None:
        account = self._account(kind, key)
        account.acknowledged = number
        account.open.clear()

    def refused(self, kind: str, key: Key, number: int) -> None:
        """It certainly has not happened."""
        self._account(kind, key).open.remove(number)

    def _account(self, kind: str, key: Key) -> _Account:
        return self._accounts.setdefault((kind, key), _Account())

    def entries(self) -> list[tuple[str, Key]]:
        return list(self._accounts)

    def contradiction(self, kind: str, key: Key, present: Object | None) -> str:
        """Why what is present breaks a promise; empty if it does not."""
        account = self._accounts[kind, key]
        seen = _number_of(present)
        if seen == account.acknowledged or seen in account.open:
            return ""
        return f"{kind} {key}: write {account.acknowledged} was acknowledged, but write {seen} is there"


def _number_of(present: Object | None) -> int:
    if present is None or "deletionTimestamp" in present["metadata"]:
        return DELETED
    return int(present["metadata"]["annotations"][ANNOTATION])
