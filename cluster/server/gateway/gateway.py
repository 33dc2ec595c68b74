"""The node gateway: the only part of the control plane that speaks to agents.

A shell around pure parts. Messages come in synchronously and are judged by `books`; writes go to a pool of
workers (`pool`); what nodes should have follows the store's changes (`wanted`) and is sent a moment later,
many changes in one message; what all nodes are told alike is published once (`sharing`). Nothing here is
needed for correctness later: a gateway that starts anew knows no session, asks for registration at the first
heartbeat, and builds everything from the store.

Registration takes three steps: the Node object is written, the node IPAM controller gives it a pod CIDR
(its only owner), and only then the agent gets `Registered` and its full desired state. A registration that is
repeated by an agent which has not begun its session yet gets the same session again: load that makes answers
slow must not make more work.

Liveness of nodes is judged by their heartbeats (Lease), in the node lifecycle controller. Presence is a
hint for the log, and ends the streams of a node that vanished.

Divergence: a kubelet never registers again for a deleted Node object; an agent does whenever it has to
resynchronise, so a deleted Node of a living agent can come back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from broker import topics
from broker.cause import caused_by
from broker.chance import Chance
from broker.clock import Clock
from broker.message import Envelope
from broker.remote import Peer, receive
from broker.supervision import Tasks
from broker.transport.link import Transport, Will
from cluster.api import wire
from cluster.api.client import ApiClient, EventType
from cluster.api.objects import Key, Object
from cluster.api.timings import Timings
from cluster.server.gateway import books, tokens
from cluster.server.gateway.books import Item, Session, Verdict
from cluster.server.gateway.derived import Derived
from cluster.server.gateway.events import EventWriter
from cluster.server.gateway.heartbeats import NodeWriter
from cluster.server.gateway.node_streams import NodeStream, NodeStreamTable, Tell
from cluster.server.gateway.pool import Pool
from cluster.server.gateway.restarts import restart_order
from cluster.server.gateway.sharing import KINDS as SHARED
from cluster.server.gateway.sharing import Sharing
from cluster.server.gateway.statuses import StatusWriter
from cluster.server.gateway.wanted import Delta, Wanted, sendable
from cluster.store.entry import Change
from cluster.store.store import Store

COALESCE_S = 0.002
"""How long changes are collected before they are sent to nodes."""
ACKNOWLEDGE_S = 1.0
"""How long acknowledgements of a node's reports are collected. An agent waits ten times as long."""
WORKERS = 64
PATIENCE_HEARTBEATS = 10.0
PATIENCE_MIN_S = 5.0
PATIENCE_MAX_S = 30.0
"""How long an agent may apply nothing of what it was sent; doubles each time that it had to register again
because of that, up to 8 times as long."""
REPEAT_S = 1.0
"""An answer to a registration that is younger than this is taken to be on its way."""
AGAIN_SPACING_S = 0.2
"""At most one `RegisterAgain` per node in this time."""


class Gateway:
    """Implements `cluster.server.streams.NodeStreams`."""

    def __init__(
        self,
        *,
        cluster: str,
        store: Store,
        client: ApiClient,
        transport: Transport,
        timings: Timings,
        service_cidr: str,
        cluster_dns: str = "",
        cluster_domain: str = "cluster.local",
        clock: Clock,
        chance: Chance,
        log: FilteringBoundLogger,
    ) -> None:
        """`transport` is not open yet: the gateway opens it, with its presence as the will."""
        self._cluster = cluster
        self._store = store
        self._transport = transport
        self._timings = timings
        self._service_cidr = service_cidr
        self._cluster_dns = cluster_dns
        self._cluster_domain = cluster_domain
        self._clock = clock
        self._log = log
        self.instance = chance.name_suffix(10)
        self._tasks = Tasks()
        pool = Pool(self._tasks, name="gateway-write", workers=WORKERS)
        writer = self._writer = client.as_user("kubelet")
        self._statuses = StatusWriter(store, writer, pool, log)
        self._events = EventWriter(writer, pool, clock)
        self._nodes = NodeWriter(
            store, writer, pool, clock=clock, timings=timings, log=log, on_ready=self._on_ready
        )
        self._wanted = Wanted(store)
        self.shared = Sharing(store, self.instance)
        """What all nodes are told alike; call `share` after telling it something."""
        self._shared_peer = self._peer_to(topics.shared_down(cluster))
        self._derived = Derived(store, self.shared, self.share)
        self._share_timer: asyncio.TimerHandle | None = None
        self._streams = NodeStreamTable(self.instance, self._teller)
        self._sessions: dict[str, Session] = {}
        self._peers: dict[str, Peer] = {}
        self._usage: dict[str, dict[str, Any]] = {}
        self._asked_again: dict[str, float] = {}
        self._stuck: dict[str, int] = {}
        """Nodes that had to register again because they lagged, until they have caught up."""
        self._session_count = 0
        self._flush_due = False
        self._reported: dict[str, Session] = {}
        """By node: sessions with reports to acknowledge."""
        self._unsubscribe: Callable[[], None] | None = None
        self.counts: Counter[str] = Counter()
        """Messages by what became of them, for metrics and logs."""

    async def start(self) -> None:
        """Follows the store and connects in the background; returns at once."""
        self._unsubscribe = self._store.subscribe(self._on_changes)
        self._wanted.load()
        self._derived.load()
        receive(self._transport, topics.all_nodes_up(self._cluster), self._on_message)
        self._transport.subscribe(topics.all_nodes_presence(self._cluster), self._on_presence)
        self._transport.on_connection(self._on_connection)
        presence = topics.control_presence(self._cluster)
        will = Will(topic=presence, payload=wire.OFFLINE)
        self._tasks.start("gateway-connect", self._transport.open(will=will))
        self._tasks.start("gateway-marks", self._mark())

    async def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._derived.close()
        if self._share_timer is not None:
            self._share_timer.cancel()
        self._streams.close()
        self._transport.publish(topics.control_presence(self._cluster), wire.OFFLINE, retain=True)
        await self._tasks.close()
        await self._transport.close()

    async def failed(self) -> None:
        """Raises the first error of the background work (AccessDenied, a bug)."""
        await self._tasks.failed()

    async def open(self, pod: Object, *, kind: str, container: str, options: dict[str, Any]) -> NodeStream:
        return await self._streams.open(pod, kind=kind, container=container, options=options)

    def usage(self) -> Mapping[str, Mapping[str, Any]]:
        """The newest `Heartbeat.usage` of each node, by name, with the time it came as "at"."""
        return self._usage

    # --- the link

    def _on_connection(self, connected: bool) -> None:
        self._log.info("broker connection", connected=connected)
        if connected:
            presence = topics.control_presence(self._cluster)
            self._transport.publish(presence, wire.online(self.instance), retain=True)
            self._shared_peer.tell(self.shared.mark())

    def _on_presence(self, topic: str, payload: bytes) -> None:
        node = topics.node_of(topic)
        instance = wire.instance_of(payload)
        self._log.info("node presence", node=node, instance=instance or "offline")
        session = self._sessions.get(node)
        if session is not None and session.epoch != instance:
            self._streams.lose(node)

    def _on_message(self, topic: str, envelope: Envelope) -> None:
        node = topics.node_of(topic)
        match envelope.body:
            case wire.Heartbeat() as message:
                self._on_heartbeat(node, message)
            case wire.PodStatuses() as message:
                self._on_statuses(node, message)
            case wire.AgentEvent() as message:
                self._on_event(node, message)
            case wire.ProbeFailed() as message:
                self._on_probe_failed(node, message)
            case wire.Register() as message:
                self._on_register(node, message)
            case wire.TokenWanted() as message:
                self._tasks.start("gateway-token", self._issue_token(node, message))
            case wire.SharedWanted() as message:
                self._on_shared_wanted(node, message)
            case wire.StreamOpened() | wire.StreamData() | wire.StreamGrant() | wire.StreamClose() as message:
                if not self._streams.take(node, message):
                    self._close_unknown_stream(node, message)
            case _:
                self._foreign(node, type(envelope.body).__name__)

    def _foreign(self, node: str, what: str) -> None:
        self.counts["foreign"] += 1
        self._log.warning("foreign message", node=node, what=what)

    def _close_unknown_stream(self, node: str, message: Any) -> None:
        if not isinstance(message, wire.StreamClose):
            self._tell(node, wire.StreamClose(id=message.id, error="no such stream"))

    # --- registration

    def _on_register(self, node: str, message: wire.Register) -> None:
        if message.node != node:
            self._foreign(node, f"registration of {message.node}")
            return
        self.counts["registrations"] += 1
        old = self._sessions.get(node)
        if old is not None and old.epoch == message.epoch and message.begun != old.id:
            self._repeat(old, message)
            return
        if old is None or old.epoch != message.epoch:
            self._streams.lose(node)
        self._session_count += 1
        session = Session(
            node=node,
            epoch=message.epoch,
            id=f"{self.instance}-{self._session_count}",
            registration=message,
            heard_at=self._clock.monotonic(),
        )
        self._sessions[node] = session
        self._nodes.register(message, lambda: self._make_ready(node))

    def _repeat(self, session: Session, message: wire.Register) -> None:
        """The agent has not begun the session that it got, or is to get."""
        session.registration = message
        if not session.ready:
            self._nodes.register(message, lambda: self._make_ready(session.node))
        elif self._clock.monotonic() - session.answered_at > REPEAT_S:
            self._nodes.register(message, lambda: self._answer(session))

    def _make_ready(self, node: str) -> None:
        """Sends the answer to a registration, once the Node has its pod CIDR."""
        session = self._sessions.get(node)
        entry = self._store.get("nodes", Key("", node))
        if session is None or session.ready or entry is None or not entry.object["spec"].get("podCIDR"):
            return
        session.ready = True
        self._log.info("node registered", node=node, session=session.id, epoch=session.epoch)
        self._answer(session)

    def _answer(self, session: Session) -> None:
        node = session.node
        entry = self._store.get("nodes", Key("", node))
        if self._sessions.get(node) is not session or entry is None:
            return
        session.answered_at = self._clock.monotonic()
        self._tell(
            node,
            wire.Registered(
                epoch=session.epoch,
                session=session.id,
                node=entry.object,
                service_cidr=self._service_cidr,
                cluster_dns=self._cluster_dns,
                cluster_domain=self._cluster_domain,
            ),
        )
        self._wanted.take(node)
        entries = self._wanted.everything(node)
        self._send(session, Delta(), [sendable(entry) for entry in entries], full=True)

    def _again(self, node: str, reason: str) -> None:
        now = self._clock.monotonic()
        if now - self._asked_again.get(node, -AGAIN_SPACING_S) < AGAIN_SPACING_S:
            return
        self._asked_again[node] = now
        self.counts["resynchronisations"] += 1
        self._log.info("node has to register again", node=node, reason=reason)
        self._tell(node, wire.RegisterAgain(reason=reason))

    # --- what comes up

    def _on_heartbeat(self, node: str, message: wire.Heartbeat) -> None:
        session = self._sessions.get(node)
        reason = books.judge_heartbeat(session, message, self._clock.monotonic(), self._patience_s(node))
        if reason:
            self._again(node, reason)
        if session is None or message.epoch != session.epoch:
            return
        if reason and session.lagging_since is not None:
            session.lagging_since = None
            self._stuck[node] = self._stuck.get(node, 0) + 1
        elif not reason and session.lagging_since is None:
            self._stuck.pop(node, None)
        if message.usage is not None:
            self._usage[node] = {**message.usage, "at": self._clock.now()}
        self._nodes.beat(node, message)

    def _patience_s(self, node: str) -> float:
        patience_s = min(max(PATIENCE_HEARTBEATS * self._timings.heartbeat_s, PATIENCE_MIN_S), PATIENCE_MAX_S)
        return patience_s * 2.0 ** min(self._stuck.get(node, 0), 3)

    def _on_ready(self, node: Object, ready: bool, known: bool) -> None:
        name = node["metadata"]["name"]
        word = "NodeReady" if ready else "NodeNotReady"
        self._events.event(name, node, "Normal", word, f"Node {name} status is now: {word}")
        if ready and known:
            # The node lifecycle controller may have marked its pods as not ready meanwhile.
            self._again(name, "the node is ready again")

    def _on_statuses(self, node: str, message: wire.PodStatuses) -> None:
        session = self._sessions.get(node)
        verdict = books.judge_report(session, message)
        self.counts[f"reports {verdict.value}"] += 1
        if session is None:
            self._again(node, "this gateway has no session of the node")
        elif verdict is Verdict.GAP:
            self._again(node, f"report {message.sequence} came after {session.accepted}")
        elif verdict is Verdict.RESTARTED:
            self._again(node, f"a full report numbered {message.sequence} came after {session.accepted}")
        elif verdict is Verdict.TAKE:
            self._acknowledge_soon(session)
            if not message.statuses:
                self._settled(session, message.sequence, 0)
            for report in message.statuses:
                self._statuses.report(node, report, lambda: self._settled(session, message.sequence, 1))

    def _settled(self, session: Session, sequence: int, pods: int) -> None:
        if books.settle(session, sequence, pods):
            self._acknowledge_soon(session)

    def _acknowledge_soon(self, session: Session) -> None:
        if not self._reported:
            asyncio.get_running_loop().call_later(ACKNOWLEDGE_S, self._acknowledge)
        self._reported[session.node] = session

    def _acknowledge(self) -> None:
        reported, self._reported = self._reported, {}
        for node, session in reported.items():
            if self._sessions.get(node) is session:
                self._tell(
                    node,
                    wire.StatusesStored(
                        epoch=session.epoch,
                        session=session.id,
                        sequence=session.stored,
                        accepted=session.accepted,
                    ),
                )

    def _on_event(self, node: str, message: wire.AgentEvent) -> None:
        if message.uid:
            obj = self._wanted.pod(node, message.uid)
        else:
            entry = self._store.get("nodes", Key("", node))
            obj = None if entry is None else entry.object
        if obj is None:
            self.counts["events of unknown objects"] += 1
            return
        self._events.event(
            node, obj, message.type, message.reason, message.message, field_path=message.field_path
        )

    def _on_probe_failed(self, node: str, message: wire.ProbeFailed) -> None:
        order = restart_order(self._wanted.pod(node, message.uid), message)
        if order is None:
            self.counts["restarts refused"] += 1
            return
        self.counts["restarts ordered"] += 1
        self._log.info("restart ordered", node=node, uid=message.uid, container=message.container)
        self._tell(node, order)

    async def _issue_token(self, node: str, message: wire.TokenWanted) -> None:
        pod = self._wanted.pod(node, message.uid)
        self._tell(node, await tokens.issue(self._writer, pod, message))

    # --- what goes down

    def _on_changes(self, changes: Sequence[Change]) -> None:
        self._wanted.apply(changes)
        now = self._clock.monotonic()
        for change in changes:
            if change.entry.qualified == "nodes":
                self._on_node_change(change)
            elif change.entry.qualified in SHARED:
                self.shared.apply(change, now)
        self._derived.apply(changes)
        self.share()
        if not self._flush_due and self._wanted.deltas:
            self._flush_due = True
            with caused_by(changes[-1].cause):
                asyncio.get_running_loop().call_later(COALESCE_S, self._flush)

    def _on_node_change(self, change: Change) -> None:
        name = change.entry.key.name
        if change.type is EventType.DELETED:
            self._usage.pop(name, None)
        elif (session := self._sessions.get(name)) is not None and not session.ready:
            self._make_ready(name)

    def _flush(self) -> None:
        self._flush_due = False
        for node in list(self._wanted.deltas):
            delta = self._wanted.take(node)
            session = self._sessions.get(node)
            if session is not None and session.ready:
                self._send(session, delta, delta.items(), full=False)

    def share(self) -> None:
        """Sends what is new for all nodes, in a moment or when its time has come."""
        wait_s = self.shared.wait_s(self._clock.monotonic())
        if wait_s is None:
            return
        loop = asyncio.get_running_loop()
        wait_s = max(wait_s, COALESCE_S)
        timer = self._share_timer
        if timer is not None:
            if timer.when() <= loop.time() + wait_s:
                return
            timer.cancel()
        self._share_timer = loop.call_later(wait_s, self._share_due)

    def _share_due(self) -> None:
        self._share_timer = None
        for message in self.shared.take(self._clock.monotonic()):
            self._shared_peer.tell(message)
        self.share()

    async def _mark(self) -> None:
        """Says again and again what was the last that all were told, for whoever missed it."""
        while True:
            await asyncio.sleep(wire.mark_period_s(self._timings.heartbeat_s))
            self._shared_peer.tell(self.shared.mark())

    def _on_shared_wanted(self, node: str, message: wire.SharedWanted) -> None:
        for part in self.shared.snapshot(message.request):
            self._tell(node, part)

    def _send(self, session: Session, delta: Delta, items: list[Item], *, full: bool) -> None:
        now = self._clock.monotonic()
        removed = list(delta.removed.values())
        for message in books.desired(session, items, removed, full=full, now=now):
            self._tell(session.node, message)

    def _teller(self, node: str) -> Tell | None:
        session = self._sessions.get(node)
        if session is None or not session.ready or not self._transport.connected:
            return None
        return lambda message: self._tell(node, message)

    def _tell(self, node: str, message: Any) -> None:
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = self._peer_to(topics.node_down(self._cluster, node))
        peer.tell(message)

    def _peer_to(self, topic: str) -> Peer:
        return Peer(
            self._transport,
            name=f"control-{self.instance}",
            publish_to=topic,
            clock=self._clock,
            log=self._log,
        )
