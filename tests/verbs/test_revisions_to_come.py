"""Reading at a revision that is not there yet, or that is not durable yet, or that is there no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from interleaved import LateJournal, Scene, versions

from broker.virtualtime import run_virtual
from cluster.api import errors
from cluster.api.client import EventType
from cluster.server.call import ListOptions, WatchOptions
from cluster.server.verbs.reading import FRESH_WITHIN_S
from cluster.store.journal import JournalFailed

Test = Callable[[Scene], Awaitable[None]]


def play(test: Test, *, delay_s: float = 0.001, breaks_at: int | None = None) -> None:
    async def run() -> None:
        scene = Scene(LateJournal(delay_s, breaks_at=breaks_at))
        await scene.prepare()
        await test(scene)
        scene.verbs.close()

    run_virtual(run())


def test_a_read_waits_for_a_revision_that_comes_soon() -> None:
    async def run(scene: Scene) -> None:
        await scene.write("one", "a", "x")
        asked = str(scene.store.revision + 1)
        asyncio.get_running_loop().call_later(
            2.0, lambda: asyncio.ensure_future(scene.write("one", "b", "x"))
        )
        listing = await scene.verbs.list(
            scene.call("one"), ListOptions(revision=asked, revision_match="NotOlderThan")
        )
        assert [entry.key.name for entry in listing.entries] == ["a", "b"]
        assert (await scene.verbs.get(scene.call("one", "b"), asked)).key.name == "b"

    play(run)


@pytest.mark.parametrize("match", ["", "Exact", "NotOlderThan"])
def test_a_revision_that_does_not_come_is_too_large(match: str) -> None:
    """After three seconds, in the form by which client-go knows this very error."""

    async def run(scene: Scene) -> None:
        began = asyncio.get_running_loop().time()
        options = ListOptions(revision="9999", revision_match=match)  # type: ignore[arg-type]
        with pytest.raises(errors.Timeout) as caught:
            await scene.verbs.list(scene.call("one"), options)
        assert asyncio.get_running_loop().time() - began == FRESH_WITHIN_S
        status = caught.value.status()
        assert (status["code"], status["reason"]) == (504, "Timeout")
        assert status["message"] == "Timeout: Too large resource version: 9999, current: 2"
        assert status["details"] == {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }
        with pytest.raises(errors.Timeout):
            await scene.verbs.get(scene.call("one", "a"), "9999")

    play(run)


def test_a_watch_from_the_future_tells_only_what_comes_after_it() -> None:
    async def run(scene: Scene) -> None:
        asked = scene.store.revision + 2
        watch = await scene.verbs.watch(scene.call(""), WatchOptions(revision=str(asked)))
        for name in "abcd":
            await scene.write("one", name, "x")
        seen = await anext(watch)
        assert [event.revision for event in seen] == [asked + 1, asked + 2]
        watch.close()

    play(run)


def test_initial_events_are_those_of_the_revision_asked_for_or_later() -> None:
    async def run(scene: Scene) -> None:
        options = WatchOptions(revision=str(scene.store.revision + 1), send_initial_events=True)
        opening = asyncio.ensure_future(scene.verbs.watch(scene.call("one"), options))
        await asyncio.sleep(1)
        assert not opening.done()
        await scene.write("one", "a", "x")
        watch = await opening
        assert [event.object["metadata"]["name"] for event in await anext(watch)] == ["a"]
        watch.close()
        options = WatchOptions(revision="9999", send_initial_events=True)
        with pytest.raises(errors.Timeout, match="Too large resource version: 9999"):
            await scene.verbs.watch(scene.call("one"), options)

    play(run)


def test_a_watch_without_initial_events_begins_now() -> None:
    async def run(scene: Scene) -> None:
        await scene.write("one", "a", "x")
        watch = await scene.verbs.watch(scene.call("one"), WatchOptions(send_initial_events=False))
        await scene.write("one", "b", "x")
        seen = [(e.type, e.object["metadata"]["name"]) for e in await anext(watch)]
        assert seen == [(EventType.ADDED, "b")]
        watch.close()

    play(run)


def test_a_watch_of_one_object_begins_with_that_one() -> None:
    async def run(scene: Scene) -> None:
        await scene.write("one", "a", "x")
        await scene.write("one", "b", "x")
        watch = await scene.verbs.watch(scene.call("one", "b"), WatchOptions())
        assert [event.object["metadata"]["name"] for event in await anext(watch)] == ["b"]
        watch.close()

    play(run)


def test_resource_version_zero_knows_no_pages() -> None:
    """As with a list from the API server's watch cache."""

    async def run(scene: Scene) -> None:
        for name in "abc":
            await scene.write("one", name, "x")
        listing = await scene.verbs.list(scene.call("one"), ListOptions(limit=1, revision="0"))
        assert (len(listing.entries), listing.continue_token) == (3, "")

    play(run)


def test_an_exact_revision_that_is_compacted_is_expired() -> None:
    async def run(scene: Scene) -> None:
        await scene.write("one", "a", "x")
        old = scene.store.revision
        await asyncio.sleep(60)
        await scene.write("one", "b", "x")
        await asyncio.sleep(600)
        with pytest.raises(errors.Expired, match=r"The resourceVersion for the provided list is too old\."):
            await scene.verbs.list(scene.call("one"), ListOptions(revision=str(old), revision_match="Exact"))

    play(run)


def test_what_is_not_durable_is_not_told() -> None:
    """Neither by a get, nor as an absence, nor by a list or a watch, before the journal has it."""

    async def run(scene: Scene) -> None:
        await scene.write("one", "gone", "x")
        writing = [
            asyncio.ensure_future(scene.write("one", "gone", None)),
            asyncio.ensure_future(scene.write("one", "new", "x")),
        ]
        await asyncio.sleep(0.5)
        assert scene.store.durable_revision < scene.store.revision
        readings = [
            asyncio.ensure_future(scene.verbs.get(scene.call("one", "new"))),
            asyncio.ensure_future(scene.verbs.get(scene.call("one", "gone"))),
            asyncio.ensure_future(scene.verbs.list(scene.call("one"), ListOptions())),
            asyncio.ensure_future(scene.verbs.watch(scene.call("one"), WatchOptions())),
        ]
        await asyncio.sleep(0.1)
        assert not any(reading.done() for reading in readings)
        await asyncio.gather(*writing)
        new, gone, listed, watch = await asyncio.gather(*readings, return_exceptions=True)
        assert new.key.name == "new"  # type: ignore[union-attr]
        assert isinstance(gone, errors.NotFound)
        assert [key for key, _ in versions(listed.entries)] == [("one", "new")]  # type: ignore[union-attr]
        watch.close()  # type: ignore[union-attr]

    play(run, delay_s=1.0)


def test_a_write_whose_journal_fails_is_neither_acknowledged_nor_told() -> None:
    """Nor is any later write taken; what is durable can still be read."""

    async def run(scene: Scene) -> None:
        await scene.write("one", "kept", "x")
        watch = await scene.verbs.watch(scene.call("one"), WatchOptions(send_initial_events=False))
        with pytest.raises(JournalFailed):
            await scene.write("one", "lost", "x")
        with pytest.raises(JournalFailed):
            await scene.write("one", "kept", None)
        for name in ("lost", "never"):
            with pytest.raises(JournalFailed):
                await scene.verbs.get(scene.call("one", name))
        with pytest.raises(JournalFailed):
            await scene.state("one", "")
        assert (await scene.verbs.get(scene.call("one", "kept"))).key.name == "kept"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await anext(watch)
        watch.close()
        kept = [record.name for record in scene.store._journal.replay().records]
        assert "lost" not in kept

    play(run, breaks_at=3)
