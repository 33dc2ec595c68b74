"""The only module that starts tasks.

asyncio's own tools (`TaskGroup`, `gather`, `wait`) keep tasks in sets, whose order depends on memory
addresses: the same seed then gives two different runs. Here every task has an owner that keeps its tasks
in the order they were started and cancels them newest first. Actors own theirs through `Context.run`;
`Tasks` is for code outside actors.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_AGAIN_S = 1.0
"""A task that is still alive this long after its cancellation is cancelled again."""


def start_task(
    name: str, work: Coroutine[Any, Any, T], *, context: contextvars.Context | None = None
) -> asyncio.Task[T]:
    """Starts a task that the caller owns: it keeps the reference, and ends the task with `end_task`."""
    return asyncio.get_running_loop().create_task(work, name=name, context=context)


async def settled(task: asyncio.Future[Any]) -> None:
    """Waits until the task has ended, however it ended. Cancelling the waiter leaves the task alone."""
    if task.done():
        return
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancels the task and waits until it has ended, asking again now and then if it swallows that."""
    if task.done():
        return
    loop = asyncio.get_running_loop()
    again: asyncio.TimerHandle | None = None

    def cancel() -> None:
        nonlocal again
        task.cancel()
        again = loop.call_later(CANCEL_AGAIN_S, cancel)

    cancel()
    try:
        await settled(task)
    finally:
        if again is not None:
            again.cancel()


class Tasks:
    """Tasks in creation order. The first error of any of them is kept and given to `failed`."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._error: BaseException | None = None
        self._wake: asyncio.Future[None] | None = None
        self._closed = False

    def start(
        self, name: str, work: Coroutine[Any, Any, T], *, context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        """Starts `work`. The task may be awaited or cancelled by the caller. RuntimeError once closed."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{name} can't start: its owner is closed")
        task = start_task(name, work, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None and self._error is None:
            self._error = error
            self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def failed(self) -> None:
        """Waits for the first error and raises it; returns once closed without one."""
        while self._error is None and not self._closed:
            if self._wake is None or self._wake.done():
                self._wake = asyncio.get_running_loop().create_future()
            await settled(self._wake)
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Cancels what still runs, newest first, waiting for each. May be called more than once."""
        self._closed = True
        own = asyncio.current_task()
        while remaining := [task for task in self._tasks if task is not own]:
            await end_task(remaining[-1])
            self._tasks.pop(remaining[-1], None)
        self._notify()
