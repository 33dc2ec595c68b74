"""Virtual time: an event loop that jumps to its next timer instead of waiting for it.

It is asyncio's own loop with two changes. The selector, where a loop waits for I/O, moves the clock to
the next timer: a simulation has no I/O, so nothing else can happen before. And timers due at the same
instant run in the order they were set; asyncio leaves that order to its heap.

When nothing is ready and no timer is set, while the main coroutine is unfinished, nothing can ever happen
again: the loop raises `VirtualDeadlock`. Threads would bring back the machine's own timing, so
`run_in_executor` (and with it `asyncio.to_thread` and name resolution) is refused.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from broker.supervision import end_task

T = TypeVar("T")


class VirtualDeadlock(Exception):
    """Nothing is scheduled, and the main coroutine is not finished."""


class _Timer(asyncio.TimerHandle):
    """Ordered by time, then by the order of creation."""

    __slots__ = ("_place",)

    def __init__(self, order: int, when: float, *rest: Any) -> None:
        super().__init__(when, *rest)
        self._place = (when, order)
        self._scheduled = True

    def __lt__(self, other: Any) -> bool:
        place: tuple[float, int] = other._place
        return self._place < place


class _TimeJump:
    """Stands where the loop expects its selector: instead of waiting for I/O, time passes."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise VirtualDeadlock(f"nothing is scheduled at {self._loop.time()} s: {self._loop.waiting()}")
        if timeout > 0:
            self._loop.jump()
        return []


class VirtualTimeLoop(base_events.BaseEventLoop):
    """An asyncio event loop on virtual time, starting at zero. It does no I/O and has no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._order = 0
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._clock_resolution = 1e-9
        self._selector = _TimeJump(self)
        self._scheduled: list[_Timer] = []
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """Moves the clock to the next timer."""
        self._now = max(self._now, self._scheduled[0].when())

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self._order += 1
        timer = _Timer(self._order, when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> NoReturn:
        name = getattr(func, "__qualname__", repr(func))
        raise RuntimeError(
            f"{name} wants a thread: there are none in virtual time, where time waits for no one"
        )

    def waiting(self) -> str:
        """The names of the unfinished tasks, oldest first, for error messages."""
        return ", ".join(task.get_name() for task in self._tasks.values()) or "no task is left"

    async def end_tasks(self) -> None:
        """Cancels every other task, newest first, and waits for each."""
        own = asyncio.current_task()
        while others := [task for task in self._tasks.values() if task is not own]:
            await end_task(others[-1])

    def _make_task(self, loop: Any, coroutine: Any, context: Any = None) -> asyncio.Task[Any]:
        """Keeps the tasks in creation order: asyncio itself has only a set of them."""
        task = asyncio.Task(coroutine, loop=loop, context=context)
        self._order += 1
        order = self._order
        self._tasks[order] = task
        task.add_done_callback(lambda _: self._tasks.pop(order, None))
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """There is no I/O whose events could come."""

    def _write_to_self(self) -> None:
        """No other thread can be waiting in a selector."""


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on a new virtual-time loop and gives its result; tasks left over are cancelled.

    An error that a callback left to the loop is raised at the end: in a simulation it is a bug.
    """
    loop = VirtualTimeLoop()
    errors: list[BaseException] = []
    loop.set_exception_handler(
        lambda _, context: errors.append(context["exception"]) if "handle" in context else None
    )
    try:
        asyncio.set_event_loop(loop)
        try:
            result = loop.run_until_complete(main)
        finally:
            loop.run_until_complete(loop.end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
        if errors:
            raise errors[0]
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()
