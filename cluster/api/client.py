"""How every controller, the scheduler, the scenarios see the cluster.

Implementations: `cluster.server.local.LocalClient` (straight into the verbs, also in a simulation) and
`cluster.server.remote.RemoteClient` (HTTPS). One contract suite runs over both. Objects that come back
from the local one are the store's own: never mutate them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource

Propagation = Literal["Background", "Foreground", "Orphan"]


class PatchType(Enum):
    """Content types of a PATCH."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class EventType(Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `object` is the new version, or the last one for DELETED (with the deletion's own
    resourceVersion)."""

    type: EventType
    object: Object
    cause: str
    """Id of what caused the write, see broker.cause; empty from a remote watch."""


class ApiClient(Protocol):
    """The verbs of the API. Every method raises `cluster.api.errors.ApiError` (its subclasses NotFound,
    Conflict, AlreadyExists, Invalid, Gone, Forbidden, … carry the Status)."""

    def as_user(self, name: str) -> ApiClient:
        """The same client under another identity and field manager, e.g. "deployment-controller"."""

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object: ...

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        """All objects, of one namespace or (empty) of all, in order of namespace and name."""

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        revision: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Every change after `revision`, in order, in batches, none missing. Raises Gone when the history
        no longer reaches back that far or the watcher is too slow: list again. Close with aclose()."""

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        """Creates; with a subresource (binding, eviction, token), posts `body` to the named object's."""

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        """Replaces. With metadata.resourceVersion in `body`, Conflict unless it is the current one.
        `subresource="status"` changes status only."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        revision: str = "",
        grace_period_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> Object:
        """Deletes, with preconditions. Returns the object as it is now (perhaps only marked deleted)."""

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        """The log of one container as text."""
