"""What becomes of one more event: dropped as spam, folded into a similar one, or counted up.

The rules are client-go's: per source and object at most 25 events at once and one more every 5 minutes;
ten different messages of one reason within 10 minutes make the following ones "combined"; an event equal
to an earlier one raises that one's count. Pure: events and times in, decisions out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from cluster.api.objects import Object

MEMORY_LIMIT = 4096
"""Entries kept per table; the least recently used one goes first."""
SIMILAR_LIMIT = 10
SIMILAR_WITHIN_S = 600.0
SPAM_BURST = 25.0
SPAM_REFILL_PER_S = 1.0 / 300.0
COMBINED = "(combined from similar events): "

V = TypeVar("V")


class _Recent(Generic[V]):
    """A table that forgets what was not used for longest."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, ...], V] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> V | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: tuple[str, ...], value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > MEMORY_LIMIT:
            self._entries.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


@dataclass(slots=True)
class _Similar:
    messages: dict[str, None]
    at_s: float


@dataclass(slots=True)
class _Seen:
    name: str
    first: str
    count: int


@dataclass(frozen=True, slots=True)
class Known:
    """The stored event that this one repeats."""

    name: str
    first_timestamp: str
    count: int
    """Including the new occurrence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    key: tuple[str, ...]
    message: str
    known: Known | None


@dataclass(slots=True)
class Correlator:
    _buckets: _Recent[_Bucket] = field(default_factory=_Recent)
    _similar: _Recent[_Similar] = field(default_factory=_Recent)
    _seen: _Recent[_Seen] = field(default_factory=_Recent)

    def judge(self, event: Object, now_s: float) -> Verdict | None:
        """None if the event is spam."""
        about = event["involvedObject"]
        who = (event["source"].get("component", ""), event["source"].get("host", ""))
        whom = tuple(
            about.get(part, "") for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
        )
        if not self._admit(who + whom[:5], now_s):
            return None
        group = (*who, *whom[:5], event["type"], event["reason"])
        message = event["message"]
        key = (*who, *whom, event["type"], event["reason"], message)
        if self._is_one_too_many(group, message, now_s):
            key, message = group, COMBINED + message
        return self.known(Verdict(key, message, None))

    def known(self, verdict: Verdict) -> Verdict:
        """The verdict with what is stored by now of the event that it repeats."""
        seen = self._seen.get(verdict.key)
        if seen is None:
            return verdict
        return replace(verdict, known=Known(seen.name, seen.first, seen.count + 1))

    def stored(self, verdict: Verdict, event: Object) -> None:
        """Remembers what the API answered, for the next repetition."""
        self._seen.put(verdict.key, _Seen(event["metadata"]["name"], event["firstTimestamp"], event["count"]))

    def _admit(self, key: tuple[str, ...], now_s: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(SPAM_BURST, now_s)
            self._buckets.put(key, bucket)
        bucket.tokens = min(SPAM_BURST, bucket.tokens + (now_s - bucket.at_s) * SPAM_REFILL_PER_S)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _is_one_too_many(self, group: tuple[str, ...], message: str, now_s: float) -> bool:
        similar = self._similar.get(group)
        if similar is None or now_s - similar.at_s > SIMILAR_WITHIN_S:
            similar = _Similar({}, now_s)
        similar.messages[message] = None
        similar.at_s = now_s
        self._similar.put(group, similar)
        if len(similar.messages) < SIMILAR_LIMIT:
            return False
        del similar.messages[next(iter(similar.messages))]
        return True
