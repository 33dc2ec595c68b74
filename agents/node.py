"""The node actor: dispatches what it is told to its parts, and is the Host of its pods.

Everything is resynchronised from nothing: after each connection, for each new controller manager, after
any gap the agent registers again, tells all its pods' statuses and is told everything it shall run. Before
a session stands reports wait, and pods go on running. The parts: `registration`, `reports`, `heartbeat`,
`nodepods` (what to run) and `nodestreams`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from agents import machine
from agents.addresses import AddressPool
from agents.admitting import Admission
from agents.allocation import Allocation, Refusal
from agents.clusterview import ClusterView
from agents.environment import Place
from agents.heartbeat import Heart
from agents.host import PodView
from agents.network import Network
from agents.nodemessages import (
    AcknowledgeDue,
    Beat,
    Connected,
    ControlSeen,
    Flush,
    NodeMessage,
    RegisterDue,
    ShutDown,
    ViewSynced,
)
from agents.nodepods import NodePods
from agents.nodestreams import NodeStreams
from agents.podactor import PodFailed
from agents.registration import Registration
from agents.reports import Reports
from agents.runtime import Runtime
from agents.services.dataplane import Dataplane
from agents.settings import OWN_ADDRESS, Machine, own_address
from agents.tokens import TokenDesk
from broker.actor import Actor
from cluster.api.objects import Object
from cluster.api.quantity import parse
from cluster.api.timings import Timings
from cluster.api.wire import (
    Desired,
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

SHUTDOWN_MESSAGE = "Pod was terminated in response to imminent node shutdown."


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
        self._ip = "" if size.address == OWN_ADDRESS else size.address
        self._capacity = machine.capacity(size)
        self._allocation = Allocation(self._capacity)
        self._admission = Admission(name, self._allocation)
        self._asked_since: float | None = None
        self._dns = ("", "cluster.local")
        """The cluster's DNS server and domain."""
        self._addresses: AddressPool | None = None
        self._introduced = False
        self._tokens = TokenDesk(epoch, tell)
        self._pods = NodePods(self, self, view, self._resynchronise, self._on_node)
        self._streams = NodeStreams(self, self, self._pods, tell)
        self._reports = Reports(self, epoch, tell, self._resynchronise)
        self._registration = Registration(self, tell, self._reports, self._form, self._streams.end)
        self._heart = Heart(
            self,
            epoch,
            tell,
            pods=self._pods,
            runtime=runtime,
            emit=self.emit,
            memory_bytes=parse(size.memory).value(),
            storage_bytes=parse(size.storage).value(),
            period_s=timings.heartbeat_s,
        )

    async def started(self) -> None:
        self._view.when_synced(lambda: self.context.ref.tell(ViewSynced()))

    async def receive(self, message: NodeMessage) -> None:
        match message:
            case Connected():
                self._registration.on_connection(message.up)
            case ControlSeen():
                self._registration.on_control(message.instance)
            case Beat():
                self._beat()
            case Flush():
                self._reports.flush()
            case ShutDown():
                self._shut_down(message.grace_s)
            case RegisterDue():
                self._registration.register()
            case AcknowledgeDue():
                self._reports.on_acknowledge_due(message)
            case ViewSynced():
                self._pods.start_waiting()
            case _:
                self._asked_since = None
                self._from_control(message)

    def _from_control(self, message: NodeMessage) -> None:
        match message:
            case Registered():
                self._on_registered(message)
            case RegisterAgain():
                self._registration.asked_again(message.reason)
            case Desired():
                self._pods.on_desired(message)
            case StatusesStored() if message.epoch == self._epoch:
                self._reports.on_stored(message)
            case RestartContainer():
                self._pods.tell(message.uid, message)
            case StreamOpen():
                self._streams.open(message)
            case TokenIssued():
                self._tokens.take(message)
            case StreamData() | StreamGrant() | StreamClose():
                self._streams.take(message)
            case _:
                pass  # of an earlier start of this agent

    # --- the session

    def _form(self, begun: str) -> Register:
        if self._size.address == OWN_ADDRESS:
            self._ip = self._own_address()
        return Register(
            node=self._name,
            epoch=self._epoch,
            begun=begun,
            labels=dict(self._size.labels),
            capacity=self._capacity,
            allocatable=self._capacity,
            addresses=machine.addresses(self._name, self._ip),
            node_info=machine.node_info(self._name, self._runtime_version),
        )

    def _own_address(self) -> str:
        try:
            return own_address()
        except OSError as error:
            self.context.log.warning("no address of its own", why=str(error), still=self._ip)
            return self._ip

    def _on_node(self, node: Object) -> None:
        self._admission.learn(node)

    def _resynchronise(self) -> None:
        self._registration.resynchronise()

    def _on_registered(self, message: Registered) -> None:
        cidr = message.node.get("spec", {}).get("podCIDR", "")
        if message.epoch != self._epoch or not cidr:
            return  # without a range: asked again by the timer
        if not self._registration.accept(message.session):
            return
        self._dns = (message.cluster_dns, message.cluster_domain)
        self._admission.learn(message.node)
        if self._addresses is None or self._addresses.cidr != cidr:
            self._addresses = AddressPool(cidr)
        if not self._ip:
            self._ip = self._addresses.gateway
        self._services.join(self._name, self._ip, cidr)
        self.context.log.info("registered", session=message.session, pod_cidr=cidr)
        self._pods.desired.begin(message.session)
        self._reports.begin(message.session)
        self._introduce()
        self._reports.tell_events()
        addresses = machine.addresses(self._name, self._ip)
        told = message.node.get("status", {}).get("addresses") == addresses
        self._heart.begin(None if told else addresses)
        self._beat(first=True)

    def _introduce(self) -> None:
        """The node's own events, once per start."""
        if self._introduced:
            return
        self._introduced = True
        self._reports.event("", "Normal", "Starting", "Starting kubelet.")
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"):
            self._reports.event("", "Normal", reason, f"Node {self._name} status is now: {reason}")

    def _beat(self, *, first: bool = False) -> None:
        self._heart.beat(self._registration.session, self._pods.desired.applied, first=first)

    def _shut_down(self, grace_s: float) -> None:
        self._heart.shutting_down = True
        self._beat()
        self._pods.tell_all(PodFailed("Terminated", SHUTDOWN_MESSAGE, grace_s))

    def views(self) -> Sequence[PodView]:
        """The pods on this node, in the order of their arrival."""
        return self._pods.views()

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
        return self._pods.desired.lookup(kind, namespace, name)

    def handler(self, pod: Object) -> str:
        name = pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        found = self._pods.desired.lookup("RuntimeClass", "", name)
        if found is None:
            raise LookupError(f'runtimeclass.node.k8s.io "{name}" not found')
        return str(found["handler"])

    def services(self) -> Sequence[Object]:
        return self._view.of_kind("Service")

    def resolve(self, name: str, type: str) -> Sequence[str]:
        return [r.data for r in self._services.names.answer(name, type).records if r.type == type]

    def take_address(self, uid: str) -> str | None:
        return self._addresses.take(uid) if self._addresses is not None else None

    def admit(self, uid: str, pod: Object) -> Refusal | None:
        self._admission.pressures = self._heart.pressures()
        self._admission.shutting_down = self._heart.shutting_down
        return self._admission.refusal(uid, pod)

    def resize(self, uid: str, pod: Object) -> Refusal | None:
        refusal = self._allocation.resize(uid, pod)
        if refusal is not None and refusal.reason == "Deferred":
            self._pods.wait_for_room(uid)
        elif refusal is None:
            self._pods.room_made()  # it may need less than before
        return refusal

    def give_back(self, uid: str) -> None:
        if self._allocation.release(uid):
            self._pods.room_made()

    def release(self, uid: str) -> None:
        if self._addresses is not None:
            self._addresses.release(uid)
        self.give_back(uid)

    def report(self, view: PodView, status: Object) -> None:
        self._reports.status(view, status)

    def gone(self, view: PodView) -> None:
        self.give_back(view.uid)
        if self._pods.take_off(view.uid):
            self._reports.gone(view)
            self._runtime.forget(view.uid)
            self._reports.soon()

    def emit(self, uid: str, type: str, reason: str, message: str, field_path: str = "") -> None:
        say = self.context.log.info if type == "Normal" else self.context.log.warning
        known = self._pods.view(uid)
        say(reason, pod=f"{known.namespace}/{known.name}" if known else uid, message=message)
        self._reports.event_soon(uid, type, reason, message, field_path)

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
        since = (self._registration.silent_since, self._asked_since)
        moments = [moment for moment in since if moment is not None]
        return self.context.clock.monotonic() - min(moments) if moments else 0.0
