"""The informer over a scripted API: relists, read-your-writes, indexes, causes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from broker.cause import current_cause
from broker.supervision import Tasks
from broker.virtualtime import run_virtual
from cluster.api import kinds
from cluster.api.client import EventType, WatchEvent
from cluster.api.errors import Gone, ServerTimeout, ServiceUnavailable
from cluster.api.objects import Key, Object, ObjectList
from cluster.reconcile.informer import Informer
from cluster.reconcile.informers import Informers, WriteThrough


def pod(name: str, revision: int, uid: str = "", **labels: str) -> Object:
    meta = {"namespace": "default", "name": name, "uid": uid or name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "resourceVersion": str(revision)}}


class ScriptedApi:
    """Lists what `objects` has; a watch gives the batches put into `batches`, or raises what is there."""

    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.revision = 1
        self.lists = 0
        self.failures: list[Exception] = []
        self.batches: asyncio.Queue[list[WatchEvent] | Exception] = asyncio.Queue()

    async def list(self, resource: Any, **where: str) -> ObjectList:
        self.lists += 1
        if self.failures:
            raise self.failures.pop(0)
        return ObjectList(items=list(self.objects), revision=str(self.revision))

    async def watch(self, resource: Any, **where: str) -> AsyncIterator[Sequence[WatchEvent]]:
        while True:
            batch = await self.batches.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch


Changes = list[tuple[str | None, str | None, str]]


def virtually(scenario: Callable[[Informer, ScriptedApi, Changes], Awaitable[None]]) -> None:
    async def main() -> None:
        api, changes = ScriptedApi(), Changes()
        api.objects = [pod("a", 1)]
        informer = Informer(api, kinds.PODS)  # type: ignore[arg-type]
        tasks = Tasks()
        tasks.start("informer", informer.run())
        await informer.synced()

        def note(old: Object | None, new: Object | None, cause: str) -> None:
            assert current_cause() == cause
            changes.append((_revision(old), _revision(new), cause))

        informer.on_change(note)
        changes.clear()
        await scenario(informer, api, changes)
        await tasks.close()

    run_virtual(main())


def _revision(obj: Object | None) -> str | None:
    return obj["metadata"]["resourceVersion"] if obj is not None else None


def event(type: EventType, obj: Object, cause: str = "") -> WatchEvent:
    return WatchEvent(type, obj, cause)


async def turn() -> None:
    await asyncio.sleep(0.001)


def test_a_late_handler_hears_of_what_is_already_there() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        heard: list[object] = []
        end = informer.on_change(lambda old, new, cause: heard.append((old, new)))
        assert heard == [(None, informer.get(Key("default", "a")))]
        end()
        await api.batches.put([event(EventType.ADDED, pod("b", 2))])
        await turn()
        assert len(heard) == 1

    virtually(scenario)


def test_events_carry_their_cause_to_handlers() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        await api.batches.put([event(EventType.MODIFIED, pod("a", 2), "r-7")])
        await turn()
        assert changes == [("1", "2", "r-7")]

    virtually(scenario)


def test_after_gone_the_difference_is_told_as_changes() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        api.objects, api.revision = [pod("b", 5), pod("c", 6)], 6
        await api.batches.put(Gone("too old"))
        await turn()
        assert changes == [("1", None, ""), (None, "5", ""), (None, "6", "")]
        assert api.lists == 2

    virtually(scenario)


def test_an_unreachable_api_is_asked_again_with_backoff() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        api.failures = [ServiceUnavailable("down") for _ in range(3)]
        await api.batches.put(ServiceUnavailable("down"))
        await asyncio.sleep(0.8 + 1.6 + 3.2 + 6.4 + 0.1)
        assert api.lists == 5
        assert len(informer.list()) == 1

    virtually(scenario)


def test_an_observed_write_is_told_once() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        informer.observe(pod("b", 2))
        assert informer.get(Key("default", "b")) is not None
        await api.batches.put([event(EventType.ADDED, pod("b", 2))])
        await turn()
        assert changes == [(None, "2", "")]

    virtually(scenario)


def test_an_observed_deletion_is_not_undone_by_older_events() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        informer.observe(pod("a", 3), deleted=True)
        await api.batches.put([event(EventType.MODIFIED, pod("a", 2))])
        await api.batches.put([event(EventType.DELETED, pod("a", 3))])
        await turn()
        assert changes == [("1", None, "")]
        await api.batches.put([event(EventType.ADDED, pod("a", 4, uid="another"))])
        await turn()
        assert changes[1:] == [(None, "4", "")]

    virtually(scenario)


def test_an_answer_that_the_watch_has_passed_brings_nothing_back() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        deleted = [event(EventType.ADDED, pod("b", 2)), event(EventType.DELETED, pod("b", 3))]
        await api.batches.put(deleted)
        await turn()
        informer.observe(pod("b", 2))
        assert informer.get(Key("default", "b")) is None

    virtually(scenario)


def test_an_observed_write_survives_an_older_list() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        informer.observe(pod("b", 9))
        await api.batches.put(Gone("too old"))
        await turn()
        assert informer.get(Key("default", "b")) is not None

    virtually(scenario)


def test_indexes_follow_changes() -> None:
    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        informer.add_index("app", lambda obj: [obj["metadata"]["labels"].get("app", "none")])
        assert [p["metadata"]["name"] for p in informer.by_index("app", "none")] == ["a"]
        await api.batches.put([event(EventType.MODIFIED, pod("a", 2, app="web"))])
        await turn()
        assert not informer.by_index("app", "none")
        assert list(informer.index_values("app")) == ["web"]
        await api.batches.put([event(EventType.DELETED, pod("a", 3, app="web"))])
        await turn()
        assert not informer.index_values("app")

    virtually(scenario)


def test_a_lost_answer_is_told_when_the_watch_has_had_time() -> None:
    """The object that was made all the same is in the cache before its writer can try again."""

    async def scenario(informer: Informer, api: ScriptedApi, changes: Changes) -> None:
        class Lossy(ScriptedApi):
            async def create(self, resource: Any, body: Object, **where: str) -> Object:
                asyncio.get_running_loop().call_later(
                    0.5, api.batches.put_nowait, [WatchEvent(EventType.ADDED, pod("b", 7), "")]
                )
                raise ServerTimeout("the answer was lost")

        client = WriteThrough(Lossy(), Informers(Lossy()))  # type: ignore[arg-type]
        with pytest.raises(ServerTimeout):
            await client.create(kinds.PODS, pod("b", 0))
        assert informer.get(Key("default", "b")) is not None

    virtually(scenario)
