"""What an admission step gets: the write under way, and what it may read of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from broker.chance import Chance
from broker.clock import Clock
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.api.timings import Timings
from cluster.server.call import Call
from cluster.store.store import Store


class Operation(Enum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The cluster as a step may see it. Reads only; quota alone writes, its own status."""

    store: Store
    registry: Registry
    clock: Clock
    chance: Chance
    timings: Timings


@dataclass(slots=True, kw_only=True)
class Request:
    """One write. A mutating step changes `object` (a private copy), never `old`."""

    operation: Operation
    call: Call
    resource: Resource
    """The stored view of the kind."""
    qualified: str
    subresource: str
    namespace: str
    name: str
    object: Object
    """The new object; empty for DELETE."""
    old: Mapping[str, Any] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    """CreateOptions, UpdateOptions or DeleteOptions as sent, for webhooks."""
