"""Event objects out of what agents tell, with counts for what repeats.

The same words about the same object become one Event whose count grows. As client-go's recorder does, one
object gets at most BURST events at once and one more every REFILL_S; the rest is dropped and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from broker.clock import Clock
from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, ApiError, NotFound
from cluster.api.kinds import EVENTS
from cluster.api.objects import Object, timestamp
from cluster.server.gateway.pool import Pool, Rank

REMEMBERED = 4096
"""Events and objects kept for counting; the oldest are forgotten, and would start a new Event."""
BURST = 25
REFILL_S = 300.0
COMPONENT = "kubelet"


@dataclass(slots=True)
class _Known:
    about: Object
    name: str
    count: int
    first: str
    stored: int = 0
    """The count that the API has; 0 before it exists."""


class EventWriter:
    def __init__(self, client: ApiClient, pool: Pool, clock: Clock) -> None:
        self._client = client
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._allowance: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._last_name = 0
        self.dropped = 0

    def event(
        self, node: str, obj: Object, type_: str, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Says `message` about `obj` in the name of the node's agent."""
        uid = obj["metadata"].get("uid", "")
        if not self._allowed(uid):
            self.dropped += 1
            return
        key = (node, uid, type_, reason, message, field_path)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._new(node, obj, type_, reason, message, field_path)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        else:
            known.count += 1
            self._known.move_to_end(key)
        self._pool.mark(("event", known.name), lambda: self._write(known), Rank.WORDS)

    def _allowed(self, uid: str) -> bool:
        now = self._clock.monotonic()
        tokens, at = self._allowance.get(uid, (float(BURST), now))
        tokens = min(BURST, tokens + (now - at) / REFILL_S)
        allowed = tokens >= 1
        self._allowance[uid] = (tokens - 1 if allowed else tokens, now)
        self._allowance.move_to_end(uid)
        if len(self._allowance) > REMEMBERED:
            self._allowance.popitem(last=False)
        return allowed

    def _new(self, node: str, obj: Object, type_: str, reason: str, message: str, field_path: str) -> _Known:
        meta = obj["metadata"]
        involved = {
            "apiVersion": "v1",
            "kind": obj["kind"],
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "uid": meta.get("uid", "") if obj["kind"] != "Node" else meta["name"],
            "resourceVersion": meta.get("resourceVersion", ""),
            "fieldPath": field_path,
        }
        now = self._clock.now()
        self._last_name = max(self._last_name + 1, int(now.timestamp() * 1_000_000) * 1000)
        name = f"{meta['name']}.{self._last_name:x}"
        namespace = meta.get("namespace") or "default"
        about = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "source": {"component": COMPONENT, "host": node},
            "type": type_,
            "eventTime": None,
            "reportingComponent": COMPONENT,
            "reportingInstance": node,
        }
        return _Known(about, name, 1, timestamp(now))

    async def _write(self, known: _Known) -> None:
        count, last = known.count, timestamp(self._clock.now())
        namespace = known.about["metadata"]["namespace"]
        times = {"firstTimestamp": known.first, "lastTimestamp": last, "count": count}
        try:
            if known.stored:
                patch = {"count": count, "lastTimestamp": last}
                await self._client.patch(EVENTS, known.name, patch, namespace=namespace)
            else:
                await self._client.create(EVENTS, {**known.about, **times}, namespace=namespace)
            known.stored = count
        except (AlreadyExists, NotFound):
            known.stored = 0
            self.dropped += 1
        except ApiError:
            self.dropped += 1
