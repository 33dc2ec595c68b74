"""The pods of a node: those it is told to run, each an actor, until the API has forgotten them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.clusterview import ClusterView
from agents.desired import Changes, DesiredState, Verdict
from agents.host import Host, PodView
from agents.nodemessages import NodeMessage
from agents.podactor import PodActor, PodMessage, PodRemoved, PodUpdated
from agents.steps import ConfigChanged, RoomMade
from broker.actor import Actor, Ref, Restart
from cluster.api.objects import Object
from cluster.api.wire import Desired

POD_RESTART = Restart(limit=1_000_000, backoff_max_s=60.0)
"""One pod's bug never takes the node with it."""


class NodePods:
    def __init__(
        self,
        actor: Actor[NodeMessage],
        host: Host,
        view: ClusterView,
        out_of_step: Callable[[], None],
        on_node: Callable[[Object], None],
    ) -> None:
        self._actor = actor
        self._host = host
        self._view = view
        self._out_of_step = out_of_step
        self._on_node = on_node
        """The Node's own object is another one."""
        self._waiting_for_room: dict[str, None] = {}
        self.desired = DesiredState()
        self._pods: dict[str, tuple[Ref[PodMessage], PodView]] = {}
        self._left: dict[str, None] = {}
        """Pods that are off the node while the API still has them."""

    def view(self, uid: str) -> PodView | None:
        known = self._pods.get(uid)
        return known[1] if known is not None else None

    def wanted(self, uid: str) -> Object | None:
        return self.desired.pods.get(uid)

    def tell(self, uid: str, message: PodMessage) -> None:
        """Nothing, where there is no such pod."""
        if uid in self._pods:
            self._pods[uid][0].tell(message)

    def tell_all(self, message: PodMessage) -> None:
        for ref, _ in self._pods.values():
            ref.tell(message)

    def room_made(self) -> None:
        """A pod left: resizes that were deferred are looked at again, in the order of their asking."""
        waiting, self._waiting_for_room = list(self._waiting_for_room), {}
        for uid in waiting:
            self.tell(uid, RoomMade())

    def wait_for_room(self, uid: str) -> None:
        self._waiting_for_room[uid] = None

    def start_waiting(self) -> None:
        """The Services are known by now."""
        self._start(list(self.desired.pods.values()))

    def take_off(self, uid: str) -> bool:
        """The pod's actor has ended its work."""
        known = self._pods.pop(uid, None)
        if known is None:
            return False
        if uid in self.desired.pods:
            self._left[uid] = None
        self._actor.context.stop(known[0])
        return True

    def on_desired(self, message: Desired) -> None:
        verdict, changes = self.desired.apply(message)
        match verdict:
            case Verdict.APPLIED:
                self._apply(changes, full=message.full)
            case Verdict.GAP:
                self._actor.context.log.info("desired state has a gap", sequence=message.sequence)
                self._out_of_step()
            case Verdict.FOREIGN:
                self._out_of_step()
            case _:
                pass

    def _apply(self, changes: Changes, *, full: bool) -> None:
        for kind, space, name in changes.others:
            if kind == "Node" and (node := self.desired.lookup(kind, space, name)) is not None:
                self._on_node(node)
        for uid in changes.gone:
            self._left.pop(uid, None)
            if uid in self._pods:
                self._host.give_back(uid)  # as for a kubelet, what has no object takes no room
                self._pods[uid][0].tell(PodRemoved())
        fresh = []
        for pod in changes.pods:
            uid = pod["metadata"]["uid"]
            if uid in self._pods:
                self._pods[uid][0].tell(PodUpdated(pod))
            else:
                fresh.append(pod)
        if self._view.synced:
            self._start(fresh)
        if full:
            for uid in [uid for uid in self._left if uid not in self.desired.pods]:
                del self._left[uid]
        spaces = {space: None for kind, space, _ in changes.others if kind in ("ConfigMap", "Secret")}
        for ref, view in self._pods.values() if spaces else ():
            if view.namespace in spaces:
                ref.tell(ConfigChanged())

    def _start(self, pods: Sequence[Object]) -> None:
        """Not before the Services are known, which belong into the environment of each container."""
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if uid not in self._pods and uid not in self._left:
                self._start_one(uid, pod)

    def _start_one(self, uid: str, pod: Object) -> None:
        meta = pod["metadata"]
        view = PodView(uid=uid, namespace=meta["namespace"], name=meta["name"])
        ref = self._actor.context.spawn(
            f"pod-{uid}", lambda: PodActor(self.desired.pods.get(uid, pod), self._host, view)
        )
        self._pods[uid] = (ref, view)

    def views(self) -> Sequence[PodView]:
        """The pods on this node, in the order of their arrival."""
        return [view for _, view in self._pods.values()]
