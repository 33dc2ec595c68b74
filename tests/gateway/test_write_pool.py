"""The order in which the gateway's writes are worked on."""

from __future__ import annotations

import asyncio

from broker.supervision import Tasks
from broker.virtualtime import run_virtual
from cluster.server.gateway.pool import Pool, Rank


def test_signs_of_life_go_before_statuses_and_these_before_events() -> None:
    async def story() -> list[str]:
        tasks = Tasks()
        pool = Pool(tasks, name="pool", workers=1)
        done: list[str] = []

        def mark(name: str, rank: Rank) -> None:
            async def work() -> None:
                done.append(name)

            pool.mark((name,), work, rank)

        mark("event", Rank.WORDS)
        mark("status", Rank.STATE)
        mark("another event", Rank.WORDS)
        mark("heartbeat", Rank.LIFE)
        assert pool.backlog == 4
        await asyncio.sleep(1)
        assert pool.backlog == 0
        await tasks.close()
        return done

    assert run_virtual(story()) == ["heartbeat", "status", "event", "another event"]
