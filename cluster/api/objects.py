"""What an object is: the JSON that came over the wire, never mutated once it is in the store.

Objects stay plain dicts so that unknown fields survive and a GET sends back what was put in. Whoever
wants to change one makes a copy (`copy_of`) first; tests run with a detector that fails on a violation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object in its JSON form."""


class Key(NamedTuple):
    """What a reconciler is told: which object, nothing about what happened to it."""

    namespace: str
    """Empty for cluster-scoped objects."""
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectList:
    """A consistent list and the revision it was read at."""

    items: Sequence[Object]
    revision: str
    continue_token: str = ""
    remaining: int | None = None


def key_of(obj: Mapping[str, Any]) -> Key:
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def copy_of(value: Any) -> Any:
    """A deep copy of JSON data; several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {k: copy_of(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copy_of(v) for v in value]
    return value


def timestamp(moment: datetime) -> str:
    """metav1.Time: RFC 3339 with seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"


def micro_timestamp(moment: datetime) -> str:
    """metav1.MicroTime: RFC 3339 with microseconds (Lease, Event.eventTime)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Reads both of Kubernetes' time formats. Raises ValueError."""
    return datetime.fromisoformat(text)


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> Object:
    """The ownerReference that a controller puts on what it creates for `owner`."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The ownerReference with controller=true, if there is one."""
    for reference in obj["metadata"].get("ownerReferences", ()):
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def condition_of(obj: Mapping[str, Any], condition_type: str) -> Object | None:
    """The entry of status.conditions with this type, if there is one."""
    for condition in obj.get("status", {}).get("conditions", ()):
        if condition["type"] == condition_type:
            found: Object = condition
            return found
    return None
