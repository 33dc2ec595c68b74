"""What the store holds and what it tells: one version of an object, and one change.

An entry keeps the object beside its JSON text. The text is made once per version, when it is first needed,
and every GET, LIST, watcher and journal sends those same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cluster.api.client import EventType
from cluster.api.objects import Key, Object


class Entry:
    """One version of one object. Never changed; the object in it must not be mutated by anyone."""

    __slots__ = ("_json", "key", "object", "qualified", "revision")

    def __init__(
        self, qualified: str, key: Key, obj: Object, revision: int, json: bytes | None = None
    ) -> None:
        self.qualified = qualified
        self.key = key
        self.object = obj
        self.revision = revision
        self._json = json

    @property
    def json(self) -> bytes:
        """The object's JSON text, serialised at the first call."""
        text = self._json
        if text is None:
            text = self._json = orjson.dumps(self.object)
        return text

    @property
    def uid(self) -> str:
        uid: str = self.object["metadata"].get("uid", "")
        return uid

    def intact(self) -> bool:
        """False when somebody changed the object after its text was made."""
        return self._json is None or orjson.dumps(self.object) == self._json

    def __repr__(self) -> str:
        return f"Entry({self.qualified} {self.key} @{self.revision})"


class Change:
    """One write, as subscribers and the history see it."""

    __slots__ = ("cause", "entry", "previous", "revision", "type")

    def __init__(self, kind: EventType, entry: Entry, previous: Entry | None, cause: str) -> None:
        self.type = kind
        self.entry = entry
        """The new version; for DELETED the last one, with the deletion's own resourceVersion."""
        self.previous = previous
        self.revision = entry.revision
        self.cause = cause

    def __repr__(self) -> str:
        return f"Change({self.type.value} {self.entry.qualified} {self.entry.key} @{self.revision})"


def with_revision(obj: Mapping[str, Any], revision: int) -> Object:
    """`obj` with another resourceVersion, sharing everything else."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}
