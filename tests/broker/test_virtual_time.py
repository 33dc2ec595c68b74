"""Virtual time: exact, ordered, without I/O."""

from __future__ import annotations

import asyncio
import time

import pytest

from broker.supervision import Tasks, start_task
from broker.virtualtime import VirtualDeadlock, VirtualTimeLoop, acting, run_virtual


def test_an_hour_passes_exactly_and_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3600.1)
        return asyncio.get_running_loop().time()

    began = time.process_time()
    assert run_virtual(main()) == 3600.1
    assert time.process_time() - began < 5


def test_timers_of_one_instant_run_in_the_order_they_were_set() -> None:
    """asyncio's own heap would not keep this order."""

    async def main() -> list[int]:
        ran: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(500):
            loop.call_at(7.0, ran.append, number)
        await asyncio.sleep(8)
        return ran

    assert run_virtual(main()) == list(range(500))


def test_a_deadlock_names_the_tasks_that_wait() -> None:
    async def main() -> None:
        tasks = Tasks()
        tasks.start("forgotten", asyncio.Event().wait())
        await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlock, match=r"at 0\.0 s: .*forgotten"):
        run_virtual(main())


def test_threads_and_name_resolution_are_refused() -> None:
    async def thread() -> None:
        await asyncio.to_thread(print)

    async def connect() -> None:
        await asyncio.open_connection("example.invalid", 80)

    with pytest.raises(RuntimeError, match="wants a thread"):
        run_virtual(thread())
    with pytest.raises(RuntimeError, match="getaddrinfo wants a thread"):
        run_virtual(connect())


def test_tasks_left_over_are_cancelled_newest_first() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(name)

    async def main() -> None:
        tasks = Tasks()
        for name in "abc":
            tasks.start(name, work(name))
        await asyncio.sleep(1)

    run_virtual(main())
    assert ended == ["c", "b", "a"]


def test_timeouts_follow_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 30


class TestTasks:
    def test_close_ends_them_newest_first_also_those_that_resist(self) -> None:
        async def main() -> list[str]:
            ended: list[str] = []

            async def stubborn() -> None:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    await asyncio.sleep(1000)
                finally:
                    ended.append("stubborn")

            async def meek() -> None:
                try:
                    await asyncio.sleep(1000)
                finally:
                    ended.append("meek")

            tasks = Tasks()
            tasks.start("meek", meek())
            tasks.start("stubborn", stubborn())
            await asyncio.sleep(1)
            await tasks.close()
            with pytest.raises(RuntimeError, match="closed"):
                tasks.start("late", meek())
            return ended

        assert run_virtual(main()) == ["stubborn", "meek"]

    def test_failed_raises_the_first_error(self) -> None:
        async def main() -> None:
            async def fail(after_s: float) -> None:
                await asyncio.sleep(after_s)
                raise ValueError(f"after {after_s}")

            tasks = Tasks()
            tasks.start("two", fail(2.0))
            tasks.start("one", fail(1.0))
            with pytest.raises(ValueError, match=r"after 1\.0"):
                await tasks.failed()
            await tasks.close()

        run_virtual(main())

    def test_failed_returns_once_closed_without_error(self) -> None:
        async def main() -> None:
            tasks, watcher = Tasks(), Tasks()
            watching = watcher.start("watch", tasks.failed())
            await asyncio.sleep(1)
            await tasks.close()
            await watching

        run_virtual(main())


def test_a_frozen_machine_catches_up_when_it_is_thawed() -> None:
    seen: list[tuple[str, float]] = []

    async def tick(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            seen.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with acting("one"):
            one = start_task("one", tick("one"))
        other = start_task("other", tick("other"))
        await asyncio.sleep(1.5)
        loop.freeze("one")
        await asyncio.sleep(5)
        loop.thaw("one")
        await one
        await other

    run_virtual(main())
    assert seen == [("one", 1), ("other", 1), ("other", 2), ("other", 3), ("one", 6.5), ("one", 7.5)]


def test_what_is_left_frozen_is_ended_all_the_same() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with acting("one"):
            start_task("one", asyncio.sleep(1))
        loop.freeze("one")
        await asyncio.sleep(2)

    run_virtual(main())
