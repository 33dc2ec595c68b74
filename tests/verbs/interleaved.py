"""Writers and readers of one API at the same time, on virtual time, over a journal that takes a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.chance import Chance
from broker.clock import LoopClock
from cluster.api import errors, kinds
from cluster.api.client import EventType
from cluster.api.objects import Object
from cluster.api.registry import Registry
from cluster.server.call import Call, ListOptions, User, WatchOptions
from cluster.server.local import LocalClient
from cluster.server.verbs import Verbs
from cluster.store.journal import JournalFailed, Record, Replay
from cluster.store.store import Store

NAMESPACES = ("one", "two")
Version = tuple[tuple[str, str], str]
"""((namespace, name), resourceVersion)"""


class LateJournal:
    """Durable `delay_s` after it was told; from the batch number `breaks_at` on it fails."""

    synchronous = False

    def __init__(self, delay_s: float, *, breaks_at: int | None = None) -> None:
        self._delay_s = delay_s
        self._left = breaks_at
        self.kept: list[Record] = []

    def replay(self) -> Replay:
        return Replay(list(self.kept), 0)

    def append(
        self,
        batch: Sequence[Record],
        on_durable: Callable[[int], None],
        on_failed: Callable[[JournalFailed], None],
    ) -> None:
        later = asyncio.get_running_loop().call_later
        if self._left == 0:
            later(self._delay_s, on_failed, JournalFailed("disk I/O error"))
            return
        if self._left is not None:
            self._left -= 1
        self.kept.extend(batch)
        later(self._delay_s, on_durable, batch[-1].revision)

    def close(self) -> None:
        """Nothing to release."""


class Scene:
    """Verbs over a small history, so that it is soon too short."""

    def __init__(self, journal: LateJournal, *, history_limit: int = 8192) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self.store = Store(journal, clock=clock, verify=True, history_limit=history_limit)
        self.verbs = Verbs(self.store, Registry(), clock=clock, chance=Chance(1))
        self.client = LocalClient(self.verbs, "test")

    async def prepare(self) -> None:
        for name in NAMESPACES:
            await self.client.create(kinds.NAMESPACES, {"metadata": {"name": name}})

    def call(self, namespace: str, name: str = "") -> Call:
        user = User(name="test", groups=("system:masters",))
        return Call(
            user=user, resource=kinds.CONFIG_MAPS, namespace=namespace, name=name, field_manager="test"
        )

    async def write(self, namespace: str, name: str, label: str | None) -> None:
        """Creates or relabels; `label` None deletes. What is not there is left alone."""
        body: Object = {"metadata": {"name": name, "namespace": namespace, "labels": {"app": label}}}
        try:
            if label is None:
                await self.client.delete(kinds.CONFIG_MAPS, name, namespace=namespace)
            else:
                await self.client.update(kinds.CONFIG_MAPS, body)
        except errors.NotFound:
            if label is not None:
                await self._create(body)

    async def _create(self, body: Object) -> None:
        try:
            await self.client.create(kinds.CONFIG_MAPS, body)
        except errors.AlreadyExists:
            await self.client.update(kinds.CONFIG_MAPS, body)

    async def state(self, namespace: str, selector: str) -> list[Version]:
        listing = await self.verbs.list(self.call(namespace), ListOptions(label_selector=selector))
        return versions(listing.entries)


def versions(entries: Sequence[Any]) -> list[Version]:
    return sorted((tuple(e.key), e.object["metadata"]["resourceVersion"]) for e in entries)


@dataclass
class Follower:
    """Lists once and then only watches, as an informer does; lists again when it is told to."""

    scene: Scene
    namespace: str
    selector: str
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    relisted: int = 0

    async def follow(self, start: str) -> None:
        """`start`: a revision to list at, or "" for now, or "0" for a watch that begins with what there is."""
        revision = start
        if start != "0":
            exact = "Exact" if start else ""
            revision = await self._list(ListOptions(revision=start, revision_match=exact))  # type: ignore[arg-type]
        while True:
            try:
                await self._watch(revision)
            except errors.Expired:
                self.relisted += 1
                revision = await self._list(ListOptions())

    async def _list(self, options: ListOptions) -> str:
        asked = ListOptions(
            label_selector=self.selector, revision=options.revision, revision_match=options.revision_match
        )
        try:
            listing = await self.scene.verbs.list(self.scene.call(self.namespace), asked)
        except errors.Expired:
            self.relisted += 1
            return await self._list(ListOptions())
        self.known = dict(versions(listing.entries))  # type: ignore[arg-type]
        return listing.revision

    async def _watch(self, revision: str) -> None:
        options = WatchOptions(label_selector=self.selector, revision=revision)
        watch = await self.scene.verbs.watch(self.scene.call(self.namespace), options)
        async for events in watch:
            for event in events:
                self._take(event)

    def _take(self, event: Any) -> None:
        metadata = event.object["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if event.type is EventType.DELETED:
            assert self.known.pop(key, None), f"{key} was deleted, but not known"
            return
        assert (event.type is EventType.ADDED) == (key not in self.known), (event.type, key)
        assert int(self.known.get(key, "0")) < int(metadata["resourceVersion"])
        self.known[key] = metadata["resourceVersion"]


async def together(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    for task in tasks:
        await task
