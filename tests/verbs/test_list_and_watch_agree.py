"""A list and a watch from its revision give the state, however writes, readers and the journal interleave."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from interleaved import NAMESPACES, Follower, LateJournal, Scene, together, versions

from broker.virtualtime import run_virtual
from cluster.api import errors
from cluster.server.call import ListOptions

SELECTORS = ("", "app=x", "app!=x", "app in (x,y)")
WRITES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.001, 0.5, 200.0]),  # the last one lets revisions grow too old
        st.sampled_from(NAMESPACES),
        st.sampled_from("abc"),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=12,
)
READERS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.0015, 0.5, 300.0]),
        st.sampled_from(["", *NAMESPACES]),
        st.sampled_from(SELECTORS),
        st.sampled_from(["now", "exact", "zero"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60)
@given(
    writers=st.lists(WRITES, min_size=1, max_size=3),
    readers=READERS,
    delay_s=st.sampled_from([0.0, 0.001, 0.01]),
    history=st.sampled_from([2, 8192]),
)
@example(writers=[[(0.0, "one", "a", "x")] * 3], readers=[(0.0, "", "", "exact")], delay_s=0.01, history=2)
def test_list_and_watch_from_it_give_the_state(
    writers: list[Any], readers: list[Any], delay_s: float, history: int
) -> None:
    """Each follower knows exactly what a list at the end shows: nothing missed, repeated or resurrected."""

    async def run() -> None:
        scene = Scene(LateJournal(delay_s), history_limit=history)
        await scene.prepare()
        followers: list[tuple[Follower, asyncio.Task[None]]] = []

        async def written(steps: list[Any]) -> None:
            for pause_s, namespace, name, label in steps:
                await asyncio.sleep(pause_s)
                await scene.write(namespace, name, label)

        async def read(pause_s: float, namespace: str, selector: str, how: str) -> None:
            await asyncio.sleep(pause_s)
            follower = Follower(scene, namespace, selector)
            start = {"now": "", "zero": "0", "exact": str(max(1, scene.store.durable_revision - 1))}[how]
            followers.append((follower, asyncio.ensure_future(follower.follow(start))))

        await together(*map(written, writers), *(read(*reader) for reader in readers))
        await asyncio.sleep(1)
        for follower, task in followers:
            if task.done():
                task.result()
            expected = await scene.state(follower.namespace, follower.selector)
            assert sorted(follower.known.items()) == expected
            task.cancel()
        scene.verbs.close()

    run_virtual(run())


@settings(max_examples=40)
@given(
    before=WRITES,
    between=st.lists(WRITES, max_size=4),
    limit=st.integers(1, 3),
    namespace=st.sampled_from(["", *NAMESPACES]),
    selector=st.sampled_from(SELECTORS),
)
def test_pages_together_are_the_list_at_the_first_page(
    before: list[Any], between: list[list[Any]], limit: int, namespace: str, selector: str
) -> None:
    """Whatever is written between pages; when the revision is too old, the rest is that of the present."""

    async def run() -> None:
        scene = Scene(LateJournal(0.001))
        await scene.prepare()
        for _, where, name, label in before:
            await scene.write(where, name, label)
        expected = await scene.state(namespace, selector)
        found: list[Any] = []
        token, writes = "", iter(between)
        while True:
            options = ListOptions(label_selector=selector, limit=limit, continue_token=token)
            try:
                page = await scene.verbs.list(scene.call(namespace), options)
            except errors.Expired as expired:
                token = expired.status()["metadata"]["continue"]
                last = max(key for key, _ in found)
                rest = [one for one in await scene.state(namespace, selector) if one[0] > last]
                expected = found + rest
                continue
            assert len(page.entries) <= limit
            found += versions(page.entries)
            token = page.continue_token
            if not token:
                break
            for pause_s, where, name, label in next(writes, []):
                await asyncio.sleep(pause_s)
                await scene.write(where, name, label)
        assert found == expected
        scene.verbs.close()

    run_virtual(run())
