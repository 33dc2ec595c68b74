"""Several API requests at once, with answers in the order asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from broker.supervision import Tasks
from cluster.api.errors import ApiError

T = TypeVar("T")

IN_FLIGHT_LIMIT = 500
"""Requests that one reconcile may have open, and the most pods it creates or deletes in one go."""


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T | ApiError]:
    """Runs all of them; each gives its result or the ApiError that it raised."""
    if len(works) == 1:
        return [await _outcome(works[0])]
    tasks = Tasks()
    try:
        running = [tasks.start(f"together-{number}", _outcome(work)) for number, work in enumerate(works)]
        return [await task for task in running]
    finally:
        await tasks.close()


async def _outcome(work: Coroutine[Any, Any, T]) -> T | ApiError:
    try:
        return await work
    except ApiError as error:
        return error


async def slow_start(
    count: int, start: Callable[[int], Coroutine[Any, Any, T]], *, first_batch: int = 1
) -> tuple[list[T], ApiError | None]:
    """Calls `start(0..count-1)` in batches of 1, 2, 4, … and stops after the first batch with a failure, so
    that what is refused a thousand times is asked for once. Returns the successes and the first error."""
    done: list[T] = []
    size = first_batch
    at = 0
    while at < count:
        size = min(size, count - at, IN_FLIGHT_LIMIT)
        outcomes = await together([start(number) for number in range(at, at + size)])
        errors = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        done.extend(outcome for outcome in outcomes if not isinstance(outcome, ApiError))
        if errors:
            return done, errors[0]
        at += size
        size *= 2
    return done, None


async def ignoring(absent: type[ApiError], work: Awaitable[T]) -> T | None:
    """The result of `work`, or None if it failed with this kind of error."""
    try:
        return await work
    except absent:
        return None
