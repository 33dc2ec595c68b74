"""The work queue on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from broker.cause import caused_by
from broker.clock import LoopClock
from broker.supervision import Tasks
from broker.virtualtime import run_virtual
from cluster.reconcile.queue import HANDED_LIMIT, WorkQueue


def virtually(scenario: Callable[[WorkQueue[str]], Awaitable[None]], spacing_s: float = 0.0) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        queue: WorkQueue[str] = WorkQueue(clock, spacing_s=spacing_s)
        await scenario(queue)
        queue.close()

    run_virtual(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_key_is_in_line_once_and_keeps_the_newest_cause() -> None:
    async def scenario(queue: WorkQueue[str]) -> None:
        queue.add("a", "w-1")
        queue.add("b")
        with caused_by("w-2"):
            queue.add("a")
        assert len(queue) == 2
        assert await queue.get() == ("a", "w-2")
        assert await queue.get() == ("b", "")

    virtually(scenario)


def test_a_key_in_work_comes_back_when_done_and_never_in_parallel() -> None:
    async def scenario(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert len(queue) == 1
        await queue.get()
        queue.done("a")
        assert queue.idle

    virtually(scenario)


def test_backoff_doubles_from_5_ms_to_1000_s_and_is_forgotten() -> None:
    async def scenario(queue: WorkQueue[str]) -> None:
        waits = []
        for _ in range(20):
            start = now()
            queue.add_rate_limited("a")
            await queue.get()
            queue.done("a")
            waits.append(round(now() - start, 6))
        assert waits[:4] == [0.005, 0.01, 0.02, 0.04]
        assert waits[-1] == 1000.0
        queue.forget("a")
        start = now()
        queue.add_rate_limited("a")
        await queue.get()
        assert round(now() - start, 6) == 0.005

    virtually(scenario)


def test_of_two_delays_the_earlier_holds() -> None:
    async def scenario(queue: WorkQueue[str]) -> None:
        queue.add_after("a", 10)
        queue.add_after("a", 2)
        queue.add_after("a", 5)
        await queue.get()
        queue.done("a")
        assert now() == 2
        await asyncio.sleep(20)
        assert queue.idle

    virtually(scenario)


def test_spacing_lets_the_first_through_and_gathers_the_rest() -> None:
    """A key asked for every 10 ms during 1 s, with 100 ms spacing: eleven looks at most."""

    async def scenario(queue: WorkQueue[str]) -> None:
        looks: list[float] = []

        async def work() -> None:
            while True:
                key, _ = await queue.get()
                looks.append(round(now(), 3))
                queue.done(key)

        tasks = Tasks()
        tasks.start("worker", work())
        for _ in range(100):
            queue.add("a")
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        await tasks.close()
        assert looks[0] == 0
        assert len(looks) <= 11
        assert looks[-1] >= 0.99

    virtually(scenario, spacing_s=0.1)


def test_a_cancelled_getter_passes_its_turn_on() -> None:
    async def scenario(queue: WorkQueue[str]) -> None:
        tasks = Tasks()
        first = tasks.start("first", queue.get())
        second = tasks.start("second", queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert (await second)[0] == "a"
        await tasks.close()

    virtually(scenario)


def test_a_costly_key_is_spaced_wider_than_the_others_until_it_is_told_otherwise() -> None:
    """Asked for every 10 ms during 1 s: the one with 300 ms gets four looks at most, the other eleven."""

    async def scenario(queue: WorkQueue[str]) -> None:
        looks: dict[str, int] = {"cheap": 0, "dear": 0}

        async def work() -> None:
            while True:
                key, _ = await queue.get()
                looks[key] += 1
                queue.done(key)

        tasks = Tasks()
        tasks.start("worker", work())
        queue.space("dear", 0.3)
        await ask(queue, looks)
        assert looks["dear"] <= 5
        assert 10 <= looks["cheap"] <= 12
        queue.space("dear", 0.0)
        await asyncio.sleep(1)
        looks["dear"] = 0
        await ask(queue, looks)
        assert 10 <= looks["dear"] <= 12
        await tasks.close()

    async def ask(queue: WorkQueue[str], keys: dict[str, int]) -> None:
        for _ in range(100):
            for key in keys:
                queue.add(key)
            await asyncio.sleep(0.01)

    virtually(scenario, spacing_s=0.1)


def test_keys_beyond_their_wider_spacing_are_forgotten_only_then() -> None:
    """However many keys pass, a key that has just been looked at still waits for its wider spacing."""

    async def scenario(queue: WorkQueue[str]) -> None:
        queue.space("dear", 5.0)
        queue.add("dear")
        queue.done((await queue.get())[0])
        await asyncio.sleep(1)
        for number in range(HANDED_LIMIT + 1):
            queue.add(f"k-{number}")
            queue.done((await queue.get())[0])
        queue.add("dear")
        assert (await queue.get())[0] == "dear"
        assert now() >= 5.0

    virtually(scenario, spacing_s=0.1)
