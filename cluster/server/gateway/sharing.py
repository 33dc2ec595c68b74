"""What every node is told alike, published once for all: numbered deltas, marks, snapshots.

No I/O here. A change goes out at once unless its object is one of those that change all the time under load
(EndpointSlices during a rollout): then it waits for its object's window, which doubles with each change that
had to wait, so that a busy object costs each agent process at most one message per `WINDOW_MAX_S` and a quiet
one is told without delay. Texts are the store's own cached JSON: nothing is encoded for the wire again.

A snapshot is the store as it is; changes that still wait are in it already and come once more afterwards,
which is harmless since each carries the whole object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from cluster.api.client import EventType
from cluster.api.objects import Object, key_of
from cluster.api.wire import Removed, Shared, SharedMark, SharedSnapshot
from cluster.server.gateway.books import PACKET_BYTES
from cluster.store.entry import Change, Entry
from cluster.store.store import Store

KINDS = (
    "services",
    "endpointslices.discovery.k8s.io",
    "ingresses.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
)
PACED = ("endpointslices.discovery.k8s.io",)
WINDOW_MIN_S = 0.1
WINDOW_MAX_S = 1.0

Id = tuple[str, str, str]
"""Qualified resource, namespace, name."""


@dataclass(slots=True)
class _Pace:
    sent_at: float
    window_s: float = WINDOW_MIN_S


class Sharing:
    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self._instance = instance
        self._sequence = 0
        self._due: dict[Id, str | Entry | Removed] = {}
        self._waiting: dict[Id, Entry] = {}
        self._paces: dict[Id, _Pace] = {}
        self._derived: dict[Id, str] = {}
        self._parts: list[list[str]] | None = None
        """The snapshot as of the last change."""

    # --- changes

    def apply(self, change: Change, now: float) -> None:
        """A change of one of `KINDS`."""
        entry = change.entry
        identity = (entry.qualified, *entry.key)
        self._parts = None
        if change.type is EventType.DELETED:
            self._paces.pop(identity, None)
            self._waiting.pop(identity, None)
            self._put(identity, removed(entry.object))
        elif entry.qualified in PACED and not self._may_go(identity, now):
            self._waiting[identity] = entry
        else:
            self._put(identity, entry)

    def tell(self, obj: Object) -> None:
        """Shares an object that is not in the store: something derived, told under its kind and name."""
        identity = _derived_id(obj)
        text = orjson.dumps(obj).decode()
        if self._derived.get(identity) != text:
            self._derived[identity] = text
            self._parts = None
            self._put(identity, text)

    def withdraw(self, obj: Object) -> None:
        """Takes back what `tell` shared."""
        identity = _derived_id(obj)
        if self._derived.pop(identity, None) is not None:
            self._parts = None
            self._put(identity, removed(obj))

    def _put(self, identity: Id, last_word: str | Entry | Removed) -> None:
        self._due.pop(identity, None)
        self._due[identity] = last_word

    def _may_go(self, identity: Id, now: float) -> bool:
        pace = self._paces.get(identity)
        if pace is None:
            self._paces[identity] = _Pace(now)
            return True
        if identity in self._due:
            return True
        since_s = now - pace.sent_at
        if since_s < pace.window_s:
            return False
        if since_s > 2 * WINDOW_MAX_S:
            pace.window_s = WINDOW_MIN_S
        pace.sent_at = now
        return True

    # --- messages

    def take(self, now: float) -> list[Shared]:
        """What is to be sent now."""
        for identity in [i for i in self._waiting if self._wait_s(i, now) <= 0]:
            pace = self._paces[identity]
            pace.sent_at, pace.window_s = now, min(pace.window_s * 2, WINDOW_MAX_S)
            self._put(identity, self._waiting.pop(identity))
        due, self._due = self._due, {}
        gone = [word for word in due.values() if isinstance(word, Removed)]
        texts = [_text(word) for word in due.values() if not isinstance(word, Removed)]
        messages = []
        for part in list(_parts(texts)) or ([[]] if gone else []):
            self._sequence += 1
            messages.append(
                Shared(instance=self._instance, sequence=self._sequence, texts=part, removed=gone)
            )
            gone = []
        return messages

    def wait_s(self, now: float) -> float | None:
        """How long until `take` has something; None while nothing waits."""
        if self._due:
            return 0.0
        return min((max(self._wait_s(i, now), 0.0) for i in self._waiting), default=None)

    def _wait_s(self, identity: Id, now: float) -> float:
        pace = self._paces[identity]
        return pace.sent_at + pace.window_s - now

    def mark(self) -> SharedMark:
        return SharedMark(instance=self._instance, sequence=self._sequence)

    def snapshot(self, request: str) -> list[SharedSnapshot]:
        """Everything, for one reader."""
        if self._parts is None:
            texts = [_text(entry) for kind in KINDS for entry in self._store.list(kind, "")]
            self._parts = list(_parts([*texts, *self._derived.values()])) or [[]]
        return [
            SharedSnapshot(
                request=request,
                instance=self._instance,
                sequence=self._sequence,
                part=number,
                more=number < len(self._parts) - 1,
                texts=part,
            )
            for number, part in enumerate(self._parts)
        ]


def removed(obj: Object) -> Removed:
    meta = obj["metadata"]
    return Removed(
        kind=obj["kind"], namespace=meta.get("namespace", ""), name=meta["name"], uid=meta.get("uid", "")
    )


def _derived_id(obj: Object) -> Id:
    key = key_of(obj)
    return f"/{obj['kind']}", key.namespace, key.name


def _text(word: str | Entry) -> str:
    return word if isinstance(word, str) else word.json.decode()


def _parts(texts: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    filled = 0
    for text in texts:
        if part and filled + len(text) > PACKET_BYTES:
            yield part
            part, filled = [], 0
        part.append(text)
        filled += len(text)
    if part:
        yield part
