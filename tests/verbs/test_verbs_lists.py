"""Pages, revisions, watches: reading while others write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.chance import Chance
from broker.clock import LoopClock
from broker.virtualtime import run_virtual
from cluster.api import errors, kinds
from cluster.api.client import EventType
from cluster.api.objects import Key
from cluster.api.registry import Registry
from cluster.server.call import Call, User, WatchOptions
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.server.watch import BACKLOG_LIMIT, BOOKMARK_PERIOD_S
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import Store


async def fill(api: Any, *names: str) -> None:
    for name in names:
        await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": name}})


def named(listing: Any) -> list[str]:
    return [entry.key.name for entry in listing.entries]


async def test_pages_show_one_moment(api: Any) -> None:
    """Objects created and deleted between pages neither appear nor go missing."""
    await fill(api, "a", "b", "c", "d", "e")
    first = await api.page(kinds.CONFIG_MAPS, limit=2)
    assert (named(first), first.remaining) == (["a", "b"], 3)
    await fill(api, "bb")
    await api.delete(kinds.CONFIG_MAPS, "d")
    second = await api.page(kinds.CONFIG_MAPS, limit=2, continue_token=first.continue_token)
    assert (named(second), second.revision) == (["c", "d"], first.revision)
    third = await api.page(kinds.CONFIG_MAPS, limit=2, continue_token=second.continue_token)
    assert (named(third), third.continue_token) == (["e"], "")


async def test_selected_pages_are_full_and_count_nothing(api: Any) -> None:
    for name in "abcdef":
        labels = {"even": str("abcdef".index(name) % 2 == 0)}
        await api.create(kinds.CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    first = await api.page(kinds.CONFIG_MAPS, limit=2, label_selector="even=True")
    assert (named(first), first.remaining) == (["a", "c"], None)
    assert first.continue_token


async def test_expired_token_comes_with_one_to_go_on(api: Any) -> None:
    await fill(api, "a", "b", "c")
    first = await api.page(kinds.CONFIG_MAPS, limit=1)
    api.clock.seconds += 20
    await fill(api, "aa")
    api.store.flush()
    api.clock.seconds += 400
    await fill(api, "bb")
    api.store.flush()
    with pytest.raises(errors.Expired, match="The provided continue parameter is too old") as caught:
        await api.page(kinds.CONFIG_MAPS, limit=1, continue_token=first.continue_token)
    token = caught.value.status()["metadata"]["continue"]
    rest = await api.page(kinds.CONFIG_MAPS, continue_token=token)
    assert named(rest) == ["aa", "b", "bb", "c"]


async def test_exact_revision_shows_the_past(api: Any) -> None:
    await fill(api, "a")
    then = (await api.page(kinds.CONFIG_MAPS)).revision
    await fill(api, "b")
    past = await api.page(kinds.CONFIG_MAPS, revision=then, revision_match="Exact")
    assert (named(past), past.revision) == (["a"], then)
    fresh = await api.page(kinds.CONFIG_MAPS, revision=then, revision_match="NotOlderThan")
    assert named(fresh) == ["a", "b"]


async def test_unreadable_token_is_a_bad_request(api: Any) -> None:
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        await api.page(kinds.CONFIG_MAPS, continue_token="%%%")


async def watch(api: Any, **options: Any) -> Any:
    return await api.verbs.watch(api.call(kinds.CONFIG_MAPS), WatchOptions(**options))


async def test_initial_events_end_with_an_annotated_bookmark(api: Any) -> None:
    await fill(api, "b", "a")
    opened = await watch(api, bookmarks=True, send_initial_events=True)
    events = await anext(opened)
    assert [e.type for e in events] == [EventType.ADDED, EventType.ADDED, EventType.BOOKMARK]
    last = events[-1].object["metadata"]
    assert last["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert last["resourceVersion"] == str(api.store.revision)
    assert events[0].frame.startswith(b'{"type":"ADDED","object":{')
    opened.close()


async def test_equal_watches_share_their_frames(api: Any) -> None:
    revision = str(api.store.revision)
    one, two = await watch(api, revision=revision), await watch(api, revision=revision)
    await fill(api, "a")
    api.store.flush()
    assert (await anext(one))[0].frame is (await anext(two))[0].frame
    one.close()
    two.close()


async def test_watch_does_not_repeat_what_its_list_had(api: Any) -> None:
    """The list is ahead of what has been published: the watch must not tell it again."""
    await fill(api, "a")
    listed = await api.page(kinds.CONFIG_MAPS)
    opened = await watch(api, revision=listed.revision)
    await fill(api, "b")
    api.store.flush()
    assert [e.object["metadata"]["name"] for e in await anext(opened)] == ["b"]
    opened.close()


async def test_slow_watcher_is_cut_off(api: Any) -> None:
    opened = await watch(api, revision=str(api.store.revision))
    quick = await watch(api, revision=str(api.store.revision))
    for number in range(BACKLOG_LIMIT + 1):
        api.store.put(
            "configmaps",
            (key := Key("default", f"c{number}")),
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key.name, "namespace": "default"}},
            None,
        )
        if number % 1000 == 0:
            api.store.flush()
            await anext(quick)
    api.store.flush()
    with pytest.raises(errors.Expired):
        await anext(opened)
    opened.close()
    quick.close()


async def test_closed_watch_ends(api: Any) -> None:
    opened = await watch(api, revision=str(api.store.revision))
    opened.close()
    with pytest.raises(StopAsyncIteration):
        await anext(opened)
    assert api.verbs.hub.count().get("configmaps", 0) == 0


def test_bookmarks_come_regularly() -> None:
    """A quiet watch that asked for them is told the revision each minute, so that it can resume from there."""

    async def run() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        store = Store(MemoryJournal(), clock=clock, verify=True)
        verbs = Verbs(store, Registry(), clock=clock, chance=Chance(1))
        client = LocalClient(verbs, "test")
        user = User(name="test")
        call = Call(user=user, resource=kinds.CONFIG_MAPS, namespace="default", field_manager="test")
        await client.create(kinds.NAMESPACES, {"metadata": {"name": "default"}})
        store.flush()
        opened = await verbs.watch(call, WatchOptions(revision="1", bookmarks=True))
        began = clock.monotonic()
        await client.create(kinds.NAMESPACES, {"metadata": {"name": "other"}})
        first = (await anext(opened))[0]
        assert (first.type, clock.monotonic() - began) == (EventType.BOOKMARK, BOOKMARK_PERIOD_S)
        assert first.object["metadata"]["resourceVersion"] == "2"
        assert (await anext(opened))[0].type is EventType.BOOKMARK
        opened.close()
        verbs.close()

    run_virtual(run())
