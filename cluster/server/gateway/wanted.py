"""What each node should have, kept from the store's changes at a cost that does not grow with the nodes.

Pods belong to one node; ConfigMaps, Secrets, claims and RuntimeClasses to the nodes whose pods refer to them
(counted). A pod's
change touches its own node's delta only. A pod status that an agent wrote itself is no news to it and is not
sent back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.api.wire import Removed
from cluster.server.gateway.books import Item
from cluster.server.gateway.references import Reference, references
from cluster.server.gateway.sharing import removed
from cluster.store.entry import Change, Entry
from cluster.store.store import Store

Id: TypeAlias = tuple[str, str, str]
"""(kind, namespace, name); of a pod (kind, "", uid), so that a namesake is another one."""

CONFIGURATION = {
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "RuntimeClass": "runtimeclasses.node.k8s.io",
}
_CONFIGURATION_KINDS = {qualified: kind for kind, qualified in CONFIGURATION.items()}


@dataclass(slots=True)
class Delta:
    """Not yet sent: the last word on each object."""

    set: dict[Id, Entry] = field(default_factory=dict)
    removed: dict[Id, Removed] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.set or self.removed)

    def items(self) -> list[Item]:
        """What to set, configuration before the pods that need it."""
        ordered = sorted(self.set.values(), key=lambda entry: entry.qualified == "pods")
        return [sendable(entry) for entry in ordered]

    def put(self, identity: Id, entry: Entry) -> None:
        self.removed.pop(identity, None)
        self.set[identity] = entry

    def drop(self, identity: Id, obj: Object) -> None:
        self.set.pop(identity, None)
        self.removed[identity] = removed(obj)


class Wanted:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._pods: dict[str, dict[str, Entry]] = {}
        self._uses: dict[str, dict[Reference, int]] = {}
        self._users: dict[Reference, dict[str, None]] = {}
        self.deltas: dict[str, Delta] = {}
        """Per node, since the last `take`."""

    def load(self) -> None:
        """Starts from what the store holds."""
        for entry in self._store.list("pods", ""):
            if node := entry.object["spec"].get("nodeName"):
                self._add(node, entry)
        self.deltas.clear()

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            qualified = change.entry.qualified
            if qualified == "pods":
                self._pod(change)
            elif qualified == "nodes":
                self._node(change)
            elif qualified in _CONFIGURATION_KINDS:
                self._configuration(_CONFIGURATION_KINDS[qualified], change)

    def everything(self, node: str) -> list[Entry]:
        """All that the node should have, configuration before the pods that need it."""
        found = (self._find(reference) for reference in self._uses.get(node, ()))
        entries = [entry for entry in found if entry is not None]
        entries.extend(self._pods.get(node, {}).values())
        return entries

    def take(self, node: str) -> Delta:
        return self.deltas.pop(node, None) or Delta()

    def pod(self, node: str, uid: str) -> Object | None:
        """A pod bound to the node."""
        entry = self._pods.get(node, {}).get(uid)
        return None if entry is None else entry.object

    def _pod(self, change: Change) -> None:
        obj = change.entry.object
        node = obj["spec"].get("nodeName")
        if not node:
            return
        uid = obj["metadata"]["uid"]
        known = self._pods.get(node, {}).get(uid)
        if change.type is EventType.DELETED:
            if known is not None:
                self._remove(node, uid, obj)
        elif known is None:
            self._add(node, change.entry)
        else:
            self._pods[node][uid] = change.entry
            if news_for_agent(known.object, obj):
                self._exchange(node, references(known.object), references(obj))
                self._delta(node).put(("Pod", "", uid), change.entry)

    def _node(self, change: Change) -> None:
        """An agent hears of its own Node at its registration, and when what it admits pods by has changed."""
        if change.type is not EventType.MODIFIED or change.previous is None:
            return
        old, new = change.previous.object, change.entry.object
        if _admits_by(old) != _admits_by(new):
            name = change.entry.key.name
            self._delta(name).put(("Node", "", name), change.entry)

    def _add(self, node: str, entry: Entry) -> None:
        uid = entry.object["metadata"]["uid"]
        self._pods.setdefault(node, {})[uid] = entry
        self._exchange(node, [], references(entry.object))
        self._delta(node).put(("Pod", "", uid), entry)

    def _remove(self, node: str, uid: str, obj: Object) -> None:
        del self._pods[node][uid]
        if not self._pods[node]:
            del self._pods[node]
        self._delta(node).drop(("Pod", "", uid), obj)
        self._exchange(node, references(obj), [])

    def _exchange(self, node: str, old: list[Reference], new: list[Reference]) -> None:
        if old == new:
            return
        uses = self._uses.setdefault(node, {})
        for reference in new:
            uses[reference] = uses.get(reference, 0) + 1
            if uses[reference] == 1:
                self._users.setdefault(reference, {})[node] = None
                if found := self._find(reference):
                    self._delta(node).put(_id(reference), found)
        for reference in old:
            uses[reference] -= 1
            if not uses[reference]:
                self._forget(node, reference)
        if not uses:
            del self._uses[node]

    def _forget(self, node: str, reference: Reference) -> None:
        del self._uses[node][reference]
        del self._users[reference][node]
        if not self._users[reference]:
            del self._users[reference]
        if found := self._find(reference):
            self._delta(node).drop(_id(reference), found.object)

    def _configuration(self, kind: str, change: Change) -> None:
        key = change.entry.key
        for node in self._users.get(Reference(kind, *key), ()):
            self._put(self._delta(node), (kind, *key), change)

    def _put(self, delta: Delta, identity: Id, change: Change) -> None:
        if change.type is EventType.DELETED:
            delta.drop(identity, change.entry.object)
        else:
            delta.put(identity, change.entry)

    def _find(self, reference: Reference) -> Entry | None:
        key = Key(reference.namespace, reference.name)
        return self._store.get(CONFIGURATION[reference.kind], key)

    def _delta(self, node: str) -> Delta:
        delta = self.deltas.get(node)
        if delta is None:
            delta = self.deltas[node] = Delta()
        return delta


def sendable(entry: Entry) -> Item:
    """The object as agents get it and (an upper bound of) its size in bytes: a pod without the record of who
    set which field, which is no concern of a node and as long as the rest; what several nodes may need as the
    text that is there already."""
    obj = entry.object
    if entry.qualified == "nodes":
        slim = {name: obj["metadata"].get(name) for name in ("name", "uid", "labels")}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": slim, "spec": obj["spec"]}
        return node, len(entry.json)
    if entry.qualified != "pods":
        return entry.json.decode(), len(entry.json)
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}, len(entry.json)


def _admits_by(node: Object) -> tuple[object, object]:
    return node["metadata"].get("labels"), node.get("spec", {}).get("taints")


def news_for_agent(old: Object, new: Object) -> bool:
    """Whether anything changed that the agent did not write itself."""
    if old["spec"] != new["spec"]:
        return True
    before, after = old["metadata"], new["metadata"]
    fields = ("deletionTimestamp", "deletionGracePeriodSeconds", "annotations", "labels")
    if any(before.get(field) != after.get(field) for field in fields):
        return True
    gates = new["spec"].get("readinessGates")
    return bool(gates) and _gate_conditions(old, gates) != _gate_conditions(new, gates)


def _gate_conditions(pod: Object, gates: list[Object]) -> list[str]:
    status = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}
    return [status.get(gate["conditionType"], "") for gate in gates]


def _id(reference: Reference) -> Id:
    return (reference.kind, reference.namespace, reference.name)
