"""The reconcile loop: keys out of a queue, one reconciler, some workers, each key in one worker at a time.

A reconciler is told which object, never what happened to it: it reads the world and makes it right. What
the API refuses is expected: Conflict is tried again quietly, every other `ApiError` is logged and tried
again with back-off. Anything else is a bug and crashes the actor; its restart watches and looks at
everything again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from broker.actor import Actor
from broker.cause import caused_by
from cluster.api.errors import ApiError, Conflict
from cluster.api.objects import Key, Object, key_of
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.queue import WorkQueue

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

Watch: TypeAlias = tuple[Informer, Handler]
Loop: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class KeyReconciler(Protocol[K_contra]):
    """What a controller does with one key of any type."""

    @property
    def name(self) -> str:
        """For logs and metrics: "deployment-controller"."""

    async def reconcile(self, key: K_contra) -> float | None:
        """Makes the world right for `key`. Returns the seconds after which to look again, or None.
        Called again after any ApiError; must write nothing when nothing needs to change."""


class Reconciler(KeyReconciler[Key], Protocol):
    """The usual case: the key names an object."""


class Controller(Actor[None], Generic[K]):
    """Runs one reconciler: its watches, its queue, its workers."""

    def __init__(
        self,
        reconciler: KeyReconciler[K],
        queue: WorkQueue[K],
        *,
        watches: Sequence[Watch],
        needs: Sequence[Informer] = (),
        workers: int = 5,
        loops: Sequence[tuple[str, Loop]] = (),
    ) -> None:
        """`watches`: handlers that fill the queue. `needs`: informers the reconciler also reads; no key is
        worked on before all of both have synced. `loops`: endless coroutines beside, such as a sweep."""
        self.reconciler = reconciler
        self.queue = queue
        self._watches = watches
        self._informers = tuple(dict.fromkeys([*(informer for informer, _ in watches), *needs]))
        self._workers = workers
        self._loops = loops
        self._ends: list[Callable[[], None]] = []

    async def started(self) -> None:
        for informer, handler in self._watches:
            self._ends.append(informer.on_change(handler))
        for number in range(self._workers):
            self.context.run(f"worker-{number}", self._work())
        for name, loop in self._loops:
            self.context.run(name, self._when_synced(loop))

    async def receive(self, message: None) -> None:
        raise AssertionError("a controller is driven by its queue, not by messages")

    async def stopped(self) -> None:
        for end in self._ends:
            end()
        self._ends.clear()
        self.queue.close()

    async def _synced(self) -> None:
        for informer in self._informers:
            await informer.synced()

    async def _when_synced(self, loop: Loop) -> None:
        await self._synced()
        await loop()

    async def _work(self) -> None:
        await self._synced()
        while True:
            key, cause = await self.queue.get()
            try:
                with caused_by(cause):
                    await self._attempt(key, cause)
            finally:
                self.queue.done(key)

    async def _attempt(self, key: K, cause: str) -> None:
        try:
            again_s = await self.reconciler.reconcile(key)
        except Conflict:
            self.queue.add_rate_limited(key, cause)
        except ApiError as error:
            self.context.log.warning(
                "reconcile failed", controller=self.reconciler.name, key=str(key), error=error.message
            )
            self.queue.add_rate_limited(key, cause)
        else:
            self.queue.forget(key)
            if again_s is not None:
                self.queue.add_after(key, max(again_s, 0.001), cause)


def enqueue(queue: WorkQueue[Key]) -> Handler:
    """The handler that adds the changed object's own key."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        obj = new if new is not None else old
        assert obj is not None
        queue.add(key_of(obj), cause)

    return handler
