"""The node gateway: the only part of the control plane that speaks to agents.

A shell around pure parts. Messages come in synchronously and are judged by `books`; writes go to a pool of
workers (`pool`); what nodes should have follows the store's changes (`wanted`) and is sent a moment later,
many changes in one message. Nothing here is needed for correctness later: a gateway that starts anew knows
no session, asks for registration at the first heartbeat, and builds everything from the store.

Registration takes three steps: the Node object is written, the node IPAM controller gives it a pod CIDR
(its only owner), and only then the agent gets `Registered` and its full desired state.

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
from cluster.server.gateway import books
from cluster.server.gateway.books import Session, Verdict
from cluster.server.gateway.events import EventWriter
from cluster.server.gateway.heartbeats import NodeWriter
from cluster.server.gateway.node_streams import NodeStream, NodeStreamTable, Tell
from cluster.server.gateway.pool import Pool
from cluster.server.gateway.restarts import restart_order
from cluster.server.gateway.statuses import StatusWriter
from cluster.server.gateway.wanted import Delta, Wanted, sendable
from cluster.store.entry import Change
from cluster.store.store import Store

COALESCE_S = 0.002
"""How long changes are collected before they are sent to nodes."""
ACKNOWLEDGE_S = 1.0
"""How long acknowledgements of a node's reports are collected. An agent waits ten times as long."""
WORKERS = 64
PATIENCE_HEARTBEATS = 3.0
"""Heartbeats within which an agent must have applied what it was sent."""
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
        writer = client.as_user("kubelet")
        self._statuses = StatusWriter(store, writer, pool, log)
        self._events = EventWriter(writer, pool, clock)
        self._nodes = NodeWriter(
            store, writer, pool, clock=clock, timings=timings, log=log, on_ready=self._on_ready
        )
        self._wanted = Wanted(store)
        self._streams = NodeStreamTable(self.instance, self._teller)
        self._sessions: dict[str, Session] = {}
        self._peers: dict[str, Peer] = {}
        self._usage: dict[str, dict[str, Any]] = {}
        self._asked_again: dict[str, float] = {}
        self._session_count = 0
        self._flush_due = False
        self._stored: dict[str, tuple[Session, int]] = {}
        """By node: reports to acknowledge."""
        self._unsubscribe: Callable[[], None] | None = None
        self.counts: Counter[str] = Counter()
        """Messages by what became of them, for metrics and logs."""

    async def start(self) -> None:
        """Follows the store and connects in the background; returns at once."""
        self._unsubscribe = self._store.subscribe(self._on_changes)
        self._wanted.load()
        receive(self._transport, topics.all_nodes_up(self._cluster), self._on_message)
        self._transport.subscribe(topics.all_nodes_presence(self._cluster), self._on_presence)
        self._transport.on_connection(self._on_connection)
        presence = topics.control_presence(self._cluster)
        will = Will(topic=presence, payload=wire.OFFLINE)
        self._tasks.start("gateway-connect", self._transport.open(will=will))

    async def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
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

    def _make_ready(self, node: str) -> None:
        """Sends the answer to a registration, once the Node has its pod CIDR."""
        session = self._sessions.get(node)
        entry = self._store.get("nodes", Key("", node))
        if session is None or session.ready or entry is None or not entry.object["spec"].get("podCIDR"):
            return
        session.ready = True
        self._log.info("node registered", node=node, session=session.id, epoch=session.epoch)
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
        patience_s = PATIENCE_HEARTBEATS * self._timings.heartbeat_s
        reason = books.judge_heartbeat(session, message, self._clock.monotonic(), patience_s)
        if reason:
            self._again(node, reason)
        if session is None or message.epoch != session.epoch:
            return
        if message.usage is not None:
            self._usage[node] = {**message.usage, "at": self._clock.now()}
        self._nodes.beat(node, message)

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
            if not message.statuses:
                self._settled(session, message.sequence, 0)
            for report in message.statuses:
                self._statuses.report(node, report, lambda: self._settled(session, message.sequence, 1))

    def _settled(self, session: Session, sequence: int, pods: int) -> None:
        number = books.settle(session, sequence, pods)
        if number is not None and self._sessions.get(session.node) is session:
            if not self._stored:
                asyncio.get_running_loop().call_later(ACKNOWLEDGE_S, self._acknowledge)
            self._stored[session.node] = (session, number)

    def _acknowledge(self) -> None:
        stored, self._stored = self._stored, {}
        for node, (session, sequence) in stored.items():
            if self._sessions.get(node) is session:
                self._tell(
                    node, wire.StatusesStored(epoch=session.epoch, session=session.id, sequence=sequence)
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

    # --- what goes down

    def _on_changes(self, changes: Sequence[Change]) -> None:
        self._wanted.apply(changes)
        for change in changes:
            if change.entry.qualified == "nodes":
                self._on_node_change(change)
        if not self._flush_due and (self._wanted.deltas or self._wanted.shared):
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
        shared = self._wanted.take_shared()
        nodes = list(self._sessions) if shared else list(self._wanted.deltas)
        common = shared.items()
        for node in nodes:
            delta = self._wanted.take(node)
            session = self._sessions.get(node)
            if session is not None and session.ready:
                delta.removed.update(shared.removed)
                self._send(session, delta, [*common, *delta.items()], full=False)

    def _send(self, session: Session, delta: Delta, items: list[tuple[Object, int]], *, full: bool) -> None:
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
            peer = self._peers[node] = Peer(
                self._transport,
                name=f"control-{self.instance}",
                publish_to=topics.node_down(self._cluster, node),
                clock=self._clock,
                log=self._log,
            )
        peer.tell(message)
