"""An API that answers late, refuses, or does what it is asked and then says that it did not.

Stands between the controllers and the verbs while `trouble` is above zero. Watches are late too, so caches
are stale. Every fault is one that a client of a real API server has to live with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from broker.chance import Chance
from cluster.api.client import ApiClient, PatchType, Propagation, WatchEvent
from cluster.api.errors import Conflict, ServerTimeout, ServiceUnavailable
from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource

T = TypeVar("T")


@dataclass(slots=True)
class Trouble:
    """Shared by the clients of one test."""

    chance: Chance
    share: float = 0.0
    """How many of all writes go wrong."""
    lateness_s: float = 0.0
    """How long a watch may hold its events."""
    faults: int = 0


class FaultyClient:
    """Implements ApiClient."""

    def __init__(self, inner: ApiClient, trouble: Trouble) -> None:
        self._inner, self._trouble = inner, trouble

    def as_user(self, name: str) -> FaultyClient:
        return FaultyClient(self._inner.as_user(name), self._trouble)

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object:
        return await self._inner.get(resource, name, namespace=namespace, subresource=subresource)

    async def list(self, resource: Resource, **where: Any) -> ObjectList:
        return await self._inner.list(resource, **where)

    async def watch(self, resource: Resource, **where: Any) -> AsyncIterator[Sequence[WatchEvent]]:
        stream = self._inner.watch(resource, **where)
        try:
            async for batch in stream:
                if self._trouble.lateness_s:
                    await asyncio.sleep(self._trouble.chance.uniform(0, self._trouble.lateness_s))
                yield batch
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        return await self._write(
            lambda: self._inner.create(
                resource, body, namespace=namespace, subresource=subresource, name=name
            )
        )

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        return await self._write(lambda: self._inner.update(resource, body, subresource=subresource))

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
    ) -> Object:
        return await self._write(
            lambda: self._inner.patch(
                resource, name, patch, namespace=namespace, kind=kind, subresource=subresource, force=force
            )
        )

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
        return await self._write(
            lambda: self._inner.delete(
                resource,
                name,
                namespace=namespace,
                uid=uid,
                revision=revision,
                grace_period_s=grace_period_s,
                propagation=propagation,
            )
        )

    async def logs(self, name: str, *, namespace: str, **options: Any) -> str:
        return await self._inner.logs(name, namespace=namespace, **options)

    async def _write(self, act: Callable[[], Awaitable[T]]) -> T:
        trouble = self._trouble
        if trouble.chance.random() >= trouble.share:
            return await act()
        trouble.faults += 1
        match trouble.chance.below(4):
            case 0:
                raise Conflict("the object has been modified")
            case 1:
                raise ServiceUnavailable("apiserver is shutting down")
            case 2:
                await asyncio.sleep(trouble.chance.uniform(0, 0.5))
                return await act()
            case _:
                await act()
                raise ServerTimeout("the answer was lost")
