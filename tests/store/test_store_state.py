"""The state machine: revisions, order, indexes, the past, and who is told what and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cause import caused_by
from broker.clock import SystemClock
from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.store.entry import Change, Entry
from cluster.store.history import Compacted
from cluster.store.journal import JournalFailed, Record, Replay
from cluster.store.journal.memory import MemoryJournal
from cluster.store.store import MutationDetected, Stale, Store


def made(name: str, namespace: str = "default", **rest: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}, "spec": {}, **rest}


def new_store(**options: Any) -> Store:
    return Store(MemoryJournal(), clock=SystemClock(), verify=True, **options)


def put(store: Store, name: str, namespace: str = "default", **rest: Any) -> Entry:
    key = Key(namespace, name)
    return store.put("pods", key, made(name, namespace, **rest), store.get("pods", key))


def names(entries: Sequence[Entry]) -> list[str]:
    return [str(entry.key) for entry in entries]


async def test_one_revision_counts_all_writes() -> None:
    """Every write, of whatever resource, gets the next number, and the object carries it."""
    store = new_store()
    first = put(store, "a")
    second = store.put("nodes", Key("", "n"), {"metadata": {"name": "n"}}, None)
    gone = store.remove(first)
    assert (first.revision, second.revision, gone.revision) == (1, 2, 3)
    assert gone.object["metadata"]["resourceVersion"] == "3"
    assert first.object["metadata"]["resourceVersion"] == "1"


async def test_lists_are_in_order_of_namespace_and_name() -> None:
    store = new_store()
    for name, namespace in (("b", "x"), ("a", "y"), ("c", "a"), ("a", "x")):
        put(store, name, namespace)
    assert names(store.list("pods")) == ["a/c", "x/a", "x/b", "y/a"]
    assert names(store.list("pods", "x")) == ["x/a", "x/b"]
    assert store.list("pods", "nowhere") == ()


async def test_write_from_an_old_version_is_stale() -> None:
    store = new_store()
    first = put(store, "a")
    put(store, "a")
    with pytest.raises(Stale):
        store.put("pods", first.key, made("a"), first)
    with pytest.raises(Stale):
        store.remove(first)


async def test_indexes_follow_writes() -> None:
    """By node, by label, by owner: found under the new value and no longer under the old one."""
    store = new_store()
    put(store, "a", spec={"nodeName": "n1"})
    put(store, "b", spec={"nodeName": "n1"})
    put(store, "a", spec={"nodeName": "n2"})
    assert names(store.by_index("pods", "node", "n1")) == ["default/b"]
    assert names(store.by_index("pods", "node", "n2")) == ["default/a"]
    labelled = made("c")
    labelled["metadata"] |= {"labels": {"app": "web"}, "ownerReferences": [{"uid": "u1"}, {"uid": "u1"}]}
    entry = store.put("pods", Key("default", "c"), labelled, None)
    assert names(store.by_label("pods", "app", "web")) == ["default/c"]
    assert names(store.owned_by("u1")) == ["default/c"]
    store.remove(entry)
    assert store.by_label("pods", "app", "web") == ()
    assert store.owned_by("u1") == []


async def test_subscribers_get_batches_in_order_with_causes() -> None:
    """All writes of one turn of the loop come as one batch, each with what caused it."""
    store = new_store()
    batches: list[list[tuple[EventType, int, str]]] = []
    store.subscribe(lambda batch: batches.append([(c.type, c.revision, c.cause) for c in batch]))
    with caused_by("r-1"):
        entry = put(store, "a")
    store.remove(entry)
    assert batches == []
    await asyncio.sleep(0)
    assert batches == [[(EventType.ADDED, 1, "r-1"), (EventType.DELETED, 2, "w-2")]]


class SlowJournal:
    """Durable only when told."""

    synchronous = False

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.failing: list[Callable[[JournalFailed], None]] = []

    def replay(self) -> Replay:
        return Replay((), 0)

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        self.waiting.append(lambda: on_durable(batch[-1].revision))
        self.failing.append(on_failed)

    def close(self) -> None: ...


async def test_nothing_is_told_before_it_is_durable() -> None:
    """Neither subscribers nor waiters nor the history for new watches hear of a write that could be lost."""
    journal = SlowJournal()
    store = Store(journal, clock=SystemClock())
    seen: list[Change] = []
    store.subscribe(seen.extend)
    entry = put(store, "a")
    waiter = asyncio.ensure_future(store.durable(entry.revision))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not seen
    assert not waiter.done()
    assert store.changes_since("pods", 0) == []
    journal.waiting[0]()
    await waiter
    assert [change.revision for change in seen] == [1]
    assert len(store.changes_since("pods", 0)) == 1


async def test_failed_journal_fails_every_waiter_and_later_writes() -> None:
    journal = SlowJournal()
    store = Store(journal, clock=SystemClock())
    waiter = asyncio.ensure_future(store.durable(put(store, "a").revision))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    journal.failing[0](JournalFailed("disk full"))
    with pytest.raises(JournalFailed):
        await waiter
    with pytest.raises(JournalFailed):
        put(store, "b")


async def test_history_is_bounded_and_says_so() -> None:
    store = new_store(history_limit=10)
    for number in range(50):
        put(store, f"p{number}")
    await asyncio.sleep(0)
    with pytest.raises(Compacted):
        store.changes_since("pods", 5)
    assert [c.revision for c in store.changes_since("pods", 48)] == [49, 50]


async def test_mutation_of_a_stored_object_is_detected() -> None:
    store = new_store()
    entry = put(store, "a")
    entry.object["spec"]["nodeName"] = "n1"
    with pytest.raises(MutationDetected):
        store.verify()


_STEPS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(["x", "y"]), st.booleans()), min_size=1, max_size=40
)


@given(steps=_STEPS)
def test_any_earlier_list_can_be_read_again(steps: list[tuple[str, str, bool]]) -> None:
    """The present with the later changes undone is exactly what a list was at that revision, and the
    changes since then lead from it to the present."""

    async def run() -> None:
        store = new_store()
        lists: dict[int, list[Entry]] = {0: []}
        for name, namespace, deletes in steps:
            current = store.get("pods", Key(namespace, name))
            if deletes and current is not None:
                store.remove(current)
            else:
                put(store, name, namespace)
            lists[store.revision] = list(store.list("pods"))
        await asyncio.sleep(0)
        for revision, expected in lists.items():
            assert store.list_at("pods", "", revision) == expected
            only_x = [entry for entry in expected if entry.key.namespace == "x"]
            assert store.list_at("pods", "x", revision) == only_x
            state = {entry.key: entry for entry in expected}
            for change in store.changes_since("pods", revision):
                if change.type is EventType.DELETED:
                    del state[change.entry.key]
                else:
                    state[change.entry.key] = change.entry
            assert [state[key] for key in sorted(state)] == list(store.list("pods"))

    asyncio.run(run())
