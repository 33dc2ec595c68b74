"""Writes core/v1 Events about objects, as `kubectl describe` shows them.

`event` never waits: events go through a bounded line to one writer (`run`); when the line is full the
newest is dropped and counted. The writer takes what has gathered and writes it together, so that a thousand
pods scheduled in one moment don't wait for a thousand turns of the disk. What repeats is folded by
`correlation`; a repetition waits for the first occurrence to be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Literal

from structlog.typing import FilteringBoundLogger

from broker.cause import caused_by, current_cause
from broker.clock import Clock
from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, ApiError, NotFound
from cluster.api.objects import Object, timestamp
from cluster.reconcile.correlation import Correlator, Verdict
from cluster.reconcile.together import together

LINE_LIMIT = 10_000
BATCH_LIMIT = 100

EventType = Literal["Normal", "Warning"]


class Recorder:
    """Events of one component."""

    def __init__(
        self, client: ApiClient, component: str, clock: Clock, log: FilteringBoundLogger | None = None
    ) -> None:
        """With a `log`, each event is a line there too."""
        self._log = log.bind(component=component) if log is not None else None
        self._client = client
        self._component = component
        self._clock = clock
        self._line: asyncio.Queue[tuple[Object, float, str]] = asyncio.Queue(LINE_LIMIT)
        self._correlator = Correlator()
        self._last_name_ns = 0
        self.dropped = 0

    def event(self, obj: Object, type: EventType, reason: str, message: str, *, field_path: str = "") -> None:
        """Says `message` about `obj` (anything with apiVersion, kind and metadata)."""
        meta = obj["metadata"]
        about = {
            "kind": obj["kind"],
            "namespace": meta.get("namespace", ""),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
            "apiVersion": obj["apiVersion"],
            "resourceVersion": meta.get("resourceVersion", ""),
            "fieldPath": field_path,
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": meta.get("namespace") or "default"},
            "involvedObject": {name: value for name, value in about.items() if value},
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "type": type,
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        if self._log is not None:
            say = self._log.info if type == "Normal" else self._log.warning
            subject = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
            say(reason, **{obj["kind"].lower(): subject}, message=message)
        try:
            self._line.put_nowait((event, self._clock.monotonic(), current_cause()))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Writes the events until cancelled. One that the API refuses is lost, as in Kubernetes."""
        while True:
            first = await self._line.get()
            batch: dict[tuple[str, ...], Coroutine[Any, Any, None]] = {}
            for event, at_s, cause in self._gathered(first):
                verdict = self._correlator.judge(event, at_s)
                if verdict is None:
                    continue
                if verdict.key in batch:
                    await together(list(batch.values()))
                    batch.clear()
                    verdict = self._correlator.known(verdict)
                batch[verdict.key] = self._write(event, verdict, cause)
            if batch:
                await together(list(batch.values()))

    def _gathered(self, first: tuple[Object, float, str]) -> Iterator[tuple[Object, float, str]]:
        yield first
        for _ in range(min(self._line.qsize(), BATCH_LIMIT - 1)):
            yield self._line.get_nowait()

    async def _write(self, event: Object, verdict: Verdict, cause: str) -> None:
        with caused_by(cause):
            await self._store(event, verdict)

    async def _store(self, event: Object, verdict: Verdict) -> None:
        now = timestamp(self._clock.now())
        try:
            stored = await self._repeat(event, verdict, now) or await self._create(event, verdict, now)
        except ApiError:
            self.dropped += 1
            return
        self._correlator.stored(verdict, stored)

    async def _repeat(self, event: Object, verdict: Verdict, now: str) -> Object | None:
        if verdict.known is None:
            return None
        patch = {"count": verdict.known.count, "lastTimestamp": now, "message": verdict.message}
        namespace = event["metadata"]["namespace"]
        try:
            return await self._client.patch(kinds.EVENTS, verdict.known.name, patch, namespace=namespace)
        except NotFound:
            return None

    async def _create(self, event: Object, verdict: Verdict, now: str) -> Object:
        known = verdict.known
        body = event | {
            "message": verdict.message,
            "firstTimestamp": known.first_timestamp if known else now,
            "lastTimestamp": now,
            "count": known.count if known else 1,
            "eventTime": None,
        }
        namespace = event["metadata"]["namespace"]
        while True:
            name = f"{event['involvedObject']['name']}.{self._next_ns():x}"
            body["metadata"] = {"name": name, "namespace": namespace}
            try:
                return await self._client.create(kinds.EVENTS, body, namespace=namespace)
            except AlreadyExists:
                continue

    def _next_ns(self) -> int:
        """The time in nanoseconds, never the same twice: event names end with it."""
        now_ns = int(self._clock.now().timestamp() * 1e6) * 1000
        self._last_name_ns = max(now_ns, self._last_name_ns + 1)
        return self._last_name_ns
