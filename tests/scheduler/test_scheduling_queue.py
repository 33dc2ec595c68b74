"""Which pod comes next, and what wakes the ones that wait."""

from __future__ import annotations

import asyncio

from scheduled import pod

from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.scheduler.queue import Happening, SchedulingQueue


def test_the_most_important_comes_first_then_the_oldest() -> None:
    async def main() -> None:
        queue = SchedulingQueue(LoopClock(asyncio.get_running_loop()))
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
            queue.add(pod(name, priority=priority))
        assert [(await queue.pop()).pod.name for _ in range(4)] == ["b", "d", "a", "c"]

    run_virtual(main())


def test_only_what_can_help_wakes_a_pod() -> None:
    async def main() -> None:
        queue = SchedulingQueue(LoopClock(asyncio.get_running_loop()))
        queue.add(pod("p"))
        queue.unschedulable(await queue.pop(), ("NodeResourcesFit",))
        queue.happened(Happening.NODE_TAINTS)
        assert queue.lengths() == {"active": 0, "backoff": 0, "unschedulable": 1}
        queue.happened(Happening.POD_GONE)
        assert queue.lengths() == {"active": 0, "backoff": 1, "unschedulable": 0}

    run_virtual(main())


def test_the_back_off_doubles_up_to_ten_seconds() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue = SchedulingQueue(LoopClock(loop))
        queue.add(pod("p"))
        waited = []
        waiting = await queue.pop()
        for _ in range(6):
            before = loop.time()
            queue.unschedulable(waiting, ())
            queue.happened(Happening.NODE_ADDED)
            waiting = await queue.pop()
            waited.append(loop.time() - before)
        assert waited == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

    run_virtual(main())


def test_a_pod_that_waited_long_enough_is_tried_at_once() -> None:
    async def main() -> None:
        queue = SchedulingQueue(LoopClock(asyncio.get_running_loop()))
        queue.add(pod("p"))
        queue.unschedulable(await queue.pop(), ("NodeResourcesFit",))
        await asyncio.sleep(5)
        queue.happened(Happening.POD_GONE)
        assert queue.has_active

    run_virtual(main())
