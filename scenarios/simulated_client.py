"""The API of a simulated cluster as a client outside sees it: behind a connection that can break.

A client holds on to its address while controller managers come and go behind it. When one is killed, every
call under way ends in ConnectionResetError, and nobody can tell whether it was carried out; while none
runs, ConnectionRefusedError. A `LocalClient` alone would know more than a client can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from broker.supervision import start_task
from cluster.api.client import ApiClient, PatchType, Propagation, WatchEvent
from cluster.api.objects import Object, ObjectList
from cluster.api.resource import Resource
from cluster.app import ControlPlane

T = TypeVar("T")


class Front:
    """Where the API is reached: the controller manager behind it, and the calls under way."""

    def __init__(self) -> None:
        self._plane: ControlPlane | None = None
        self._calls: dict[asyncio.Future[Any], asyncio.Task[Any]] = {}

    def open(self, plane: ControlPlane) -> None:
        self._plane = plane

    def break_off(self) -> None:
        """The process behind is gone."""
        self._plane = None
        calls, self._calls = self._calls, {}
        for future, task in calls.items():
            task.cancel()
            if not future.done():
                future.set_exception(ConnectionResetError("connection reset by peer"))

    def inner(self, user: str) -> ApiClient:
        if self._plane is None:
            raise ConnectionRefusedError("connection refused")
        return self._plane.client(user)

    async def through(self, work: Coroutine[Any, Any, T]) -> T:
        """The call's result, unless the connection breaks before."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = start_task("api call", work)
        self._calls[future] = task

        def answer(done: asyncio.Task[T]) -> None:
            self._calls.pop(future, None)
            if done.cancelled() or future.done():
                return
            error = done.exception()
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(error)

        task.add_done_callback(answer)
        try:
            return await future
        finally:
            self._calls.pop(future, None)
            task.cancel()


class SimulatedClient:
    """Implements `cluster.api.client.ApiClient`."""

    def __init__(self, front: Front, user: str) -> None:
        self._front = front
        self._user = user

    def as_user(self, name: str) -> SimulatedClient:
        return SimulatedClient(self._front, name)

    def _inner(self) -> ApiClient:
        return self._front.inner(self._user)

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> Object:
        return await self._front.through(
            self._inner().get(resource, name, namespace=namespace, subresource=subresource)
        )

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectList:
        return await self._front.through(
            self._inner().list(
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
            )
        )

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        revision: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        events = self._inner().watch(
            resource,
            namespace=namespace,
            revision=revision,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        while (batch := await self._front.through(_next(events))) is not None:
            yield batch

    async def create(
        self, resource: Resource, body: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object:
        return await self._front.through(
            self._inner().create(resource, body, namespace=namespace, subresource=subresource, name=name)
        )

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        return await self._front.through(self._inner().update(resource, body, subresource=subresource))

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
        return await self._front.through(
            self._inner().patch(
                resource,
                name,
                patch,
                namespace=namespace,
                kind=kind,
                subresource=subresource,
                force=force,
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
        return await self._front.through(
            self._inner().delete(
                resource,
                name,
                namespace=namespace,
                uid=uid,
                revision=revision,
                grace_period_s=grace_period_s,
                propagation=propagation,
            )
        )

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str = "",
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        return await self._front.through(
            self._inner().logs(name, namespace=namespace, container=container, previous=previous, tail=tail)
        )


async def _next(events: AsyncIterator[Sequence[WatchEvent]]) -> Sequence[WatchEvent] | None:
    return await anext(events, None)
