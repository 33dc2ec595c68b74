"""Virtual time: an event loop that jumps to its next timer instead of waiting for it.

It is asyncio's own loop with a turn of its own. Where a loop waits for I/O, this one moves the clock to the
next timer: a simulation has no I/O, so nothing else can happen before. And timers due at the same instant run
in the order they were set; asyncio leaves that order to its heap.

When nothing is ready and no timer is set, while the main coroutine is unfinished, nothing can ever happen
again: the loop raises `VirtualDeadlock`. Threads would bring back the machine's own timing, so
`run_in_executor` (and with it `asyncio.to_thread` and name resolution) is refused.

What runs on behalf of one machine (`acting`, inherited by every task, timer and callback that comes of it)
can be frozen: it is held back, as by SIGSTOP, until it is thawed.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar

from broker.supervision import end_task

T = TypeVar("T")


_party: ContextVar[str] = ContextVar("party", default="")


@contextmanager
def acting(party: str) -> Iterator[None]:
    """The body, and whatever it starts, runs on behalf of this machine."""
    token = _party.set(party)
    try:
        yield
    finally:
        _party.reset(token)


def own_context() -> Context | None:
    """For callbacks that others set off but that belong to the machine acting now; None: no machine is."""
    return copy_context() if _party.get() else None


class VirtualDeadlock(Exception):
    """Nothing is scheduled, and the main coroutine is not finished."""


RESOLUTION_S = 1e-9
"""Timers that are due within this are due now."""
TASKS_BETWEEN_SWEEPS = 512
"""How many tasks are started before finished ones are forgotten."""
TIMERS_WORTH_SWEEPING = 128


class _Timer(asyncio.TimerHandle):
    __slots__ = ()
    _scheduled: bool
    """In the heap; the handle itself asks for it when it is cancelled."""


_Timers = list[tuple[float, int, _Timer]]
"""A heap, ordered by time, then by the order of creation."""


class VirtualTimeLoop(base_events.BaseEventLoop):
    """An asyncio event loop on virtual time, starting at zero. It does no I/O and has no threads."""

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._order = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._sweep_at = TASKS_BETWEEN_SWEEPS
        self._ready: deque[asyncio.Handle]
        self._timers: _Timers = []
        self._cancelled_timers = 0
        self._frozen: dict[str, list[asyncio.Handle]] = {}
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """One turn: what is ready, then what has become due; if there is neither, time passes first."""
        timers, ready = self._timers, self._ready
        while timers and timers[0][2]._cancelled:
            self._forget(heapq.heappop(timers)[2])
        if not ready and not self._stopping:
            if not timers:
                raise VirtualDeadlock(f"nothing is scheduled at {self._now} s: {self.waiting()}")
            self._now = max(self._now, timers[0][0])
        end = self._now + RESOLUTION_S
        while timers and timers[0][0] < end:
            timer = heapq.heappop(timers)[2]
            self._forget(timer)
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if self._frozen:
                held = self._frozen.get(_context_of(handle).get(_party, ""))
                if held is not None:
                    held.append(handle)
                    continue
            handle._run()

    def freeze(self, party: str) -> None:
        """From now on nothing of this machine runs."""
        self._frozen.setdefault(party, [])

    def thaw(self, party: str) -> None:
        """Everything that has become due in the meantime runs now, in its order."""
        self._ready.extend(self._frozen.pop(party, ()))

    def _forget(self, timer: _Timer) -> None:
        """It is no longer in the heap."""
        timer._scheduled = False
        if timer.cancelled():
            self._cancelled_timers -= 1

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        if not handle._scheduled:
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > TIMERS_WORTH_SWEEPING and self._cancelled_timers * 2 > len(self._timers):
            self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self._order += 1
        timer = _Timer(when, callback, args, self, context)
        timer._scheduled = True
        heapq.heappush(self._timers, (when, self._order, timer))
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
        return ", ".join(task.get_name() for task in self._unfinished()) or "no task is left"

    async def end_tasks(self) -> None:
        """Cancels every other task, newest first, and waits for each."""
        for party in list(self._frozen):
            self.thaw(party)
        own = asyncio.current_task()
        while others := [task for task in self._unfinished() if task is not own]:
            await end_task(others[-1])

    def _make_task(self, loop: Any, coroutine: Any, context: Any = None) -> asyncio.Task[Any]:
        """Keeps the tasks in creation order: asyncio itself has only a set of them."""
        task = asyncio.Task(coroutine, loop=loop, context=context)
        self._tasks[task] = None
        if len(self._tasks) > self._sweep_at:
            self._tasks = dict.fromkeys(self._unfinished())
            self._sweep_at = 2 * len(self._tasks) + TASKS_BETWEEN_SWEEPS
        return task

    def _unfinished(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def _write_to_self(self) -> None:
        """No other thread can be waiting in a selector."""


def _context_of(handle: asyncio.Handle) -> Context:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context


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
