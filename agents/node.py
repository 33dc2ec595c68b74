"""The node actor: registration, sessions, the desired pods, heartbeats, and reports back.

Everything is resynchronised from nothing: after each connection, for each new controller manager, after
any gap the agent registers again, tells all its pods' statuses and is told everything it shall run. A
session stands once `Registered` came; before that reports wait in the outbox, and pods go on running.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from agents import machine, pressure, serving
from agents.addresses import AddressPool
from agents.clusterview import ClusterView
from agents.desired import Changes, DesiredState, Verdict
from agents.environment import Place
from agents.host import PodView
from agents.network import Network
from agents.outbox import Outbox
from agents.podactor import PodActor, PodFailed, PodMessage, PodRemoved, PodUpdated
from agents.runtime import Runtime
from agents.services.dataplane import Dataplane
from agents.sessions import Sessions
from agents.settings import Machine
from agents.steps import ConfigChanged
from agents.streams import AgentStream
from agents.tokens import TokenDesk
from broker.actor import Actor, Ref, Restart
from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.timings import Timings
from cluster.api.wire import (
    AgentEvent,
    Desired,
    Heartbeat,
    ProbeFailed,
    Register,
    RegisterAgain,
    Registered,
    RestartContainer,
    StatusesStored,
    StreamClose,
    StreamData,
    StreamGrant,
    StreamOpen,
    TokenIssued,
)

FLUSH_S = 0.02
"""How long a status or an event waits for others of the same moment: a pod's start is one packet."""
ACKNOWLEDGE_S = 10.0
ACKNOWLEDGE_MAX_S = 120.0
"""When no report was stored for so long, one was lost: register again. Doubles each time that it comes to
that, until all are stored: a store that is busy is not helped by reports that come again."""
REGISTER_RETRY_S = 5.0
REGISTER_RETRY_MAX_S = 30.0
RESYNCHRONISE_S = 0.25
RESYNCHRONISE_MAX_S = 16.0
"""How long a session that is out of step goes on before a new one, from the second time on; doubles."""
CALM_S = 30.0
"""A session that stood so long ends a series of resynchronisations."""
ANSWER_S = 0.2
"""A registration this young was sent to the controller manager that is now seen."""
USAGE_PERIOD_S = 5.0
MAX_WAITING_EVENTS = 500
"""Events kept for the next flush or, while there is none, for the next session; the oldest go first."""
EVICTION_GRACE_S = 0.0
"""A hard threshold grants none."""
SHUTDOWN_MESSAGE = "Pod was terminated in response to imminent node shutdown."
MAX_STREAMS = 200
POD_RESTART = Restart(limit=1_000_000, backoff_max_s=60.0)
"""One pod's bug never takes the node with it."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The link to the broker came up or broke."""

    up: bool


@dataclass(frozen=True, slots=True)
class ControlSeen:
    """The controller manager's presence: its instance, empty when it is away."""

    instance: str


@dataclass(frozen=True, slots=True)
class Beat:
    """Time for a heartbeat."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The machine is about to be switched off: pods end within the grace."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Flush:
    """Time to send what changed."""


@dataclass(frozen=True, slots=True)
class RegisterDue:
    """No answer to the registration yet."""


@dataclass(frozen=True, slots=True)
class AcknowledgeDue:
    """By now more reports should be stored than these."""

    session: str
    sequence: int
    """The last one that was sent."""
    stored: int


@dataclass(frozen=True, slots=True)
class ViewSynced:
    """What all nodes are told alike is known: pods may start."""


NodeMessage: TypeAlias = (
    Connected
    | ControlSeen
    | Beat
    | Flush
    | ShutDown
    | RegisterDue
    | AcknowledgeDue
    | ViewSynced
    | Registered
    | RegisterAgain
    | Desired
    | StatusesStored
    | RestartContainer
    | StreamOpen
    | StreamData
    | StreamGrant
    | StreamClose
    | TokenIssued
)


class NodeActor(Actor[NodeMessage]):
    """Implements `agents.host.Host` for its pods."""

    def __init__(
        self,
        name: str,
        *,
        epoch: str,
        tell: Callable[[Any], None],
        runtime: Runtime,
        services: Dataplane,
        view: ClusterView,
        size: Machine,
        timings: Timings,
        runtime_version: str,
    ) -> None:
        self._name = name
        self._epoch = epoch
        self._tell = tell
        self._runtime = runtime
        self._services = services
        self._view = view
        self._network = services.network
        self._size = size
        self._timings = timings
        self._runtime_version = runtime_version
        self._ip = size.address
        self._capacity = machine.capacity(size)
        self._connected = False
        self._control = ""
        """The controller manager's instance; empty while it is away."""
        self._registered_at = 0.0
        self._retry_s = REGISTER_RETRY_S
        self._begun_at = -CALM_S
        self._hurried = 0
        """Resynchronisations in a row."""
        self._out_of_step = False
        """A registration is due in a moment."""
        self._acknowledge_s = ACKNOWLEDGE_S
        self._session = ""
        self._sessions = Sessions()
        """Each session is begun once: numbers that start over would make old acknowledgements mean new
        reports."""
        self._silent_since: float | None = None
        self._asked_since: float | None = None
        self._desired = DesiredState()
        self._outbox = Outbox(epoch)
        self._tokens = TokenDesk(epoch, tell)
        self._dns = ("", "cluster.local")
        """The cluster's DNS server and domain."""
        self._addresses: AddressPool | None = None
        self._pods: dict[str, tuple[Ref[PodMessage], PodView]] = {}
        self._left: dict[str, None] = {}
        """Pods that are off the node while the API still has them."""
        self._streams: dict[str, AgentStream] = {}
        self._stream_count = 0
        self._events: deque[AgentEvent] = deque(maxlen=MAX_WAITING_EVENTS)
        self._introduced = False
        self._images_told: list[Object] | None = None
        self._addresses_due: list[Object] | None = None
        """For the next heartbeat of this session."""
        self._usage_told = -USAGE_PERIOD_S
        self._flush_due = False
        self._acknowledge_due = False
        self._memory = parse(size.memory).value()
        self._pressed_at: float | None = None
        """When memory was last short."""
        self._shutting_down = False

    async def started(self) -> None:
        self._view.when_synced(lambda: self.context.ref.tell(ViewSynced()))

    async def receive(self, message: NodeMessage) -> None:
        match message:
            case Connected():
                self._on_connection(message.up)
            case ControlSeen():
                self._on_control(message.instance)
            case Beat():
                self._beat()
            case Flush():
                self._flush()
            case ShutDown():
                self._shut_down(message.grace_s)
            case RegisterDue():
                self._register()
            case AcknowledgeDue():
                self._on_acknowledge_due(message)
            case ViewSynced():
                self._start_pods(list(self._desired.pods.values()))
            case _:
                self._asked_since = None
                self._from_control(message)

    def _from_control(self, message: NodeMessage) -> None:
        match message:
            case Registered():
                self._on_registered(message)
            case RegisterAgain():
                self._register_again(message.reason)
            case Desired():
                self._on_desired(message)
            case StatusesStored() if message.epoch == self._epoch:
                self._on_stored(message)
            case RestartContainer():
                if message.uid in self._pods:
                    self._pods[message.uid][0].tell(message)
            case StreamOpen():
                self._open_stream(message)
            case TokenIssued():
                self._tokens.take(message)
            case StreamData() | StreamGrant() | StreamClose():
                stream = self._streams.get(message.id)
                if stream is not None:
                    stream.take(message)
                elif not isinstance(message, StreamClose):
                    self._tell(StreamClose(id=message.id, error="no such stream", code=404))
            case _:
                pass  # of an earlier start of this agent

    # --- the session

    def _on_connection(self, up: bool) -> None:
        self._connected = up
        if up:
            self._register()
            return
        self._end_session()

    def _on_control(self, instance: str) -> None:
        before, self._control = self._control, instance
        if not instance:
            self._end_session()
        elif self._session:
            if instance != before:
                self._register()
        elif self.context.clock.monotonic() - self._registered_at > ANSWER_S:
            self._register()

    def _end_session(self) -> None:
        """Nobody may ever say that there is a new one to register with, so the timer runs again."""
        self._session = ""
        self._outbox.end()
        self.context.after(self._retry_s, RegisterDue(), key="register")
        if self._silent_since is None:
            self._silent_since = self.context.clock.monotonic()
        for stream in self._streams.values():
            stream.end()

    def _register(self) -> None:
        if not self._connected:
            return
        self._session = ""
        self._outbox.end()
        self._out_of_step = False
        self._tell(
            Register(
                node=self._name,
                epoch=self._epoch,
                begun=self._sessions.newest,
                labels=dict(self._size.labels),
                capacity=self._capacity,
                allocatable=self._capacity,
                addresses=machine.addresses(self._name, self._ip),
                node_info=machine.node_info(self._name, self._runtime_version),
            )
        )
        self._registered_at = self.context.clock.monotonic()
        self.context.after(self._jittered(self._retry_s), RegisterDue(), key="register")
        self._retry_s = min(self._retry_s * 2, REGISTER_RETRY_MAX_S)

    def _jittered(self, delay_s: float) -> float:
        return delay_s * self.context.chance.uniform(0.7, 1.0)

    def _resynchronise(self) -> None:
        """The session is out of step: the first time another one is opened at once, then more and more
        slowly, for what made it so may be load."""
        if not self._session or self._out_of_step:
            return
        if self.context.clock.monotonic() - self._begun_at > CALM_S:
            self._hurried = 0
        self._hurried += 1
        if self._hurried == 1:
            self._register()
            return
        self._out_of_step = True
        delay_s = min(RESYNCHRONISE_S * 2.0 ** (self._hurried - 2), RESYNCHRONISE_MAX_S)
        self.context.after(self._jittered(delay_s), RegisterDue(), key="register")

    def _register_again(self, reason: str) -> None:
        """While a registration is under way this is an older wish, which it fulfils. To register once more
        would make its answer stale: with a slow link, neither side would ever come to rest."""
        if self._session:
            self.context.log.info("asked to register again", reason=reason)
            self._resynchronise()

    def _on_registered(self, message: Registered) -> None:
        if message.epoch != self._epoch or not self._connected:
            return
        cidr = message.node.get("spec", {}).get("podCIDR", "")
        if not cidr:
            return  # asked again by the timer
        if not self._sessions.is_news(message.session):
            return
        self._silent_since = None
        self._dns = (message.cluster_dns, message.cluster_domain)
        if self._addresses is None or self._addresses.cidr != cidr:
            self._addresses = AddressPool(cidr)
        if not self._ip:
            self._ip = self._addresses.gateway
        self._services.join(self._name, self._ip, cidr)
        self.context.cancel("register")
        self._retry_s = REGISTER_RETRY_S
        self._session = message.session
        self._begun_at = self.context.clock.monotonic()
        addresses = machine.addresses(self._name, self._ip)
        if message.node.get("status", {}).get("addresses") != addresses:
            self._addresses_due = addresses
        self.context.log.info("registered", session=message.session, pod_cidr=cidr)
        self._desired.begin(message.session)
        for report in self._outbox.begin(message.session):
            self._tell(report)
        self._expect_acknowledgement()
        self._introduce()
        self._tell_events()
        self._images_told = None
        self._beat(first=True)

    def _introduce(self) -> None:
        """The node's own events, once per start."""
        if self._introduced:
            return
        self._introduced = True
        self._node_event("Starting", "Starting kubelet.")
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"):
            self._node_event(reason, f"Node {self._name} status is now: {reason}")

    def _node_event(self, reason: str, message: str) -> None:
        self._events.append(
            AgentEvent(epoch=self._epoch, uid="", type="Normal", reason=reason, message=message)
        )

    def _beat(self, *, first: bool = False) -> None:
        period_s = self._timings.heartbeat_s
        spread = (0.05, 1.0) if first else (0.96, 1.04)
        self.context.after(period_s * self.context.chance.uniform(*spread), Beat(), key="beat")
        if not self._session:
            return
        images = machine.newest_images(self._runtime.images())
        self._tell(
            Heartbeat(
                epoch=self._epoch,
                session=self._session,
                applied=self._desired.applied,
                conditions=machine.conditions(
                    memory_pressure=self._under_pressure(), shutting_down=self._shutting_down
                ),
                images=images if images != self._images_told else None,
                addresses=self._addresses_due,
                usage=self._usage(),
            )
        )
        self._images_told, self._addresses_due = images, None

    def _usage(self) -> dict[str, Any] | None:
        now = self.context.clock.monotonic()
        if now - self._usage_told < USAGE_PERIOD_S:
            return None
        self._usage_told = now
        pods: dict[str, Any] = {}
        consumers: list[pressure.Consumer] = []
        cpu, memory = 0.0, 0
        for uid, (_, view) in self._pods.items():
            if view.ended:
                continue
            containers = {}
            asked: dict[str, int] = {}
            for name, container in view.current.items():
                usage = container.usage()
                if usage.asked:
                    asked[name] = usage.memory_bytes
                cpu, memory = cpu + usage.cpu_cores, memory + usage.memory_bytes
                containers[name] = {"cpu": usage.cpu_cores, "memory": usage.memory_bytes}
            pods[uid] = containers
            if asked and (pod := self._desired.pods.get(uid)) is not None:
                consumers.append(pressure.Consumer(pod=pod, containers=asked))
        if consumers:
            self._relieve(consumers)
        return {"node": {"cpu": cpu, "memory": memory}, "pods": pods}

    def _relieve(self, consumers: list[pressure.Consumer]) -> None:
        """Evicts a pod where the memory runs out."""
        found = pressure.victim(self._memory, consumers)
        if found is None:
            return
        chosen, message = found
        self._pressed_at = self.context.clock.monotonic()
        uid = chosen.pod["metadata"]["uid"]
        self.emit(uid, "Warning", "Evicted", message)
        self._pods[uid][0].tell(PodFailed("Evicted", message, EVICTION_GRACE_S))

    def _under_pressure(self) -> bool:
        since = self._pressed_at
        return since is not None and self.context.clock.monotonic() - since < pressure.TRANSITION_S

    def _shut_down(self, grace_s: float) -> None:
        self._shutting_down = True
        self._beat()
        for ref, _ in self._pods.values():
            ref.tell(PodFailed("Terminated", SHUTDOWN_MESSAGE, grace_s))

    # --- the desired pods

    def _on_desired(self, message: Desired) -> None:
        verdict, changes = self._desired.apply(message)
        match verdict:
            case Verdict.APPLIED:
                self._apply(changes, full=message.full)
            case Verdict.GAP:
                self.context.log.info("desired state has a gap", sequence=message.sequence)
                self._resynchronise()
            case Verdict.FOREIGN:
                self._resynchronise()
            case _:
                pass

    def _apply(self, changes: Changes, *, full: bool) -> None:
        for uid in changes.gone:
            self._left.pop(uid, None)
            if uid in self._pods:
                self._pods[uid][0].tell(PodRemoved())
        fresh = []
        for pod in changes.pods:
            uid = pod["metadata"]["uid"]
            if uid in self._pods:
                self._pods[uid][0].tell(PodUpdated(pod))
            else:
                fresh.append(pod)
        if self._view.synced:
            self._start_pods(fresh)
        if full:
            for uid in [uid for uid in self._left if uid not in self._desired.pods]:
                del self._left[uid]
        spaces = {space: None for kind, space, _ in changes.others if kind in ("ConfigMap", "Secret")}
        for ref, view in self._pods.values() if spaces else ():
            if view.namespace in spaces:
                ref.tell(ConfigChanged())

    def _start_pods(self, pods: Sequence[Object]) -> None:
        """Not before the Services are known, which belong into the environment of each container."""
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if uid not in self._pods and uid not in self._left:
                self._start_pod(uid, pod)

    def _start_pod(self, uid: str, pod: Object) -> None:
        meta = pod["metadata"]
        view = PodView(uid=uid, namespace=meta["namespace"], name=meta["name"])
        ref = self.context.spawn(f"pod-{uid}", lambda: PodActor(self._desired.pods.get(uid, pod), self, view))
        self._pods[uid] = (ref, view)

    def views(self) -> Sequence[PodView]:
        """The pods on this node, in the order of their arrival."""
        return [view for _, view in self._pods.values()]

    # --- the Host of the pods

    @property
    def timings(self) -> Timings:
        return self._timings

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def network(self) -> Network:
        return self._network

    @property
    def ip(self) -> str:
        return self._ip

    def place(self, pod_ip: str) -> Place:
        server, domain = self._dns
        return Place(
            pod_ip=pod_ip,
            host_ip=self._ip,
            allocatable=self._capacity,
            cluster_dns=server,
            cluster_domain=domain,
        )

    async def token(self, pod: Object, audience: str, expires_s: int) -> tuple[str, datetime]:
        return await self._tokens.token(pod, audience, expires_s)

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._desired.lookup(kind, namespace, name)

    def services(self) -> Sequence[Object]:
        return self._view.of_kind("Service")

    def take_address(self, uid: str) -> str | None:
        return self._addresses.take(uid) if self._addresses is not None else None

    def release_address(self, uid: str) -> None:
        if self._addresses is not None:
            self._addresses.release(uid)

    def report(self, view: PodView, status: Object) -> None:
        self._outbox.report(view.uid, view.namespace, view.name, status)
        self._flush_soon()

    def gone(self, view: PodView) -> None:
        known = self._pods.pop(view.uid, None)
        if known is None:
            return
        if view.uid in self._desired.pods:
            self._left[view.uid] = None
        self._outbox.gone(view.uid, view.namespace, view.name)
        self._runtime.forget(view.uid)
        self.context.stop(known[0])
        self._flush_soon()

    def emit(self, uid: str, type: str, reason: str, message: str, field_path: str = "") -> None:
        event = AgentEvent(
            epoch=self._epoch, uid=uid, type=type, reason=reason, message=message, field_path=field_path
        )
        say = self.context.log.info if type == "Normal" else self.context.log.warning
        known = self._pods.get(uid)
        say(reason, pod=f"{known[1].namespace}/{known[1].name}" if known else uid, message=message)
        self._events.append(event)
        self._flush_soon()
        if self._session and len(self._events) == MAX_WAITING_EVENTS:
            self._tell_events()

    def probe_failed(self, uid: str, container: str, probe: str, restart_count: int, message: str) -> None:
        if self._asked_since is None:
            self._asked_since = self.context.clock.monotonic()
        self._tell(
            ProbeFailed(
                epoch=self._epoch,
                uid=uid,
                container=container,
                probe=probe,
                restart_count=restart_count,
                message=message,
            )
        )

    def cut_off_s(self) -> float:
        moments = [moment for moment in (self._silent_since, self._asked_since) if moment is not None]
        return self.context.clock.monotonic() - min(moments) if moments else 0.0

    # --- reports

    def _flush_soon(self) -> None:
        if not self._flush_due and self._session:
            self._flush_due = True
            self.context.after(FLUSH_S, Flush(), key="flush")

    def _flush(self) -> None:
        self._flush_due = False
        if self._session:
            self._tell_events()
        if not self._outbox.pending:
            return
        for report in self._outbox.take():
            self._tell(report)
        self._expect_acknowledgement()

    def _tell_events(self) -> None:
        for event in self._events:
            self._tell(event)
        self._events.clear()

    def _expect_acknowledgement(self) -> None:
        if not self._acknowledge_due:
            self._acknowledge_due = True
            due = AcknowledgeDue(self._session, self._outbox.sent, self._outbox.confirmed)
            self.context.after(self._acknowledge_s, due, key="acknowledge")

    def _on_stored(self, message: StatusesStored) -> None:
        self._outbox.stored(message.session, message.sequence)
        if self._acknowledge_due and not self._outbox.missing(self._outbox.sent):
            self._acknowledge_due = False
            self._acknowledge_s = ACKNOWLEDGE_S
            self.context.cancel("acknowledge")

    def _on_acknowledge_due(self, message: AcknowledgeDue) -> None:
        self._acknowledge_due = False
        stuck = self._outbox.missing(message.sequence) and self._outbox.confirmed == message.stored
        if message.session == self._session and stuck:
            self.context.log.info("a report was not stored in time", sequence=message.sequence)
            self._acknowledge_s = min(self._acknowledge_s * 2, ACKNOWLEDGE_MAX_S)
            self._resynchronise()
        elif self._outbox.missing(self._outbox.sent):
            self._expect_acknowledgement()

    # --- streams

    def _open_stream(self, message: StreamOpen) -> None:
        if len(self._streams) >= MAX_STREAMS or message.id in self._streams:
            self._tell(StreamClose(id=message.id, error="too many streams on this node", code=429))
            return
        stream = self._streams[message.id] = AgentStream(message, self._tell)
        self._stream_count += 1
        self.context.run(f"stream/{self._stream_count}", self._serve_stream(message, stream))

    async def _serve_stream(self, message: StreamOpen, stream: AgentStream) -> None:
        known = self._pods.get(message.uid)
        try:
            await serving.serve(message, stream, known[1] if known else None, self, self.context.clock)
        finally:
            del self._streams[message.id]
