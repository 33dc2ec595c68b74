"""The graph of owners and dependents over every object of every resource, kept from informer events.

Pure bookkeeping: an event goes in, the uids that need a look come out. An owner that is referred to but was
never seen has a virtual node, until the API shows it or shows that it is absent. An event that changes
neither owners nor deletion costs a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster.api.objects import Key, Object, key_of
from cluster.api.resource import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Item(NamedTuple):
    """Something to look at: an object that may have to go, or an owner whose dependents may stay."""

    uid: str
    orphaning: bool

    def __str__(self) -> str:
        return f"{self.uid} (orphaning)" if self.orphaning else self.uid


@dataclass(slots=True)
class Node:
    uid: str
    api_version: str
    kind: str
    key: Key
    resource: Resource | None
    """None for a virtual node: known by reference only."""
    owners: tuple[Mapping[str, object], ...] = ()
    dependents: dict[str, Node] = field(default_factory=dict)
    deleting: bool = False
    deleting_dependents: bool = False

    @property
    def virtual(self) -> bool:
        return self.resource is None

    def blocking(self) -> list[Node]:
        """The dependents that hold up a foreground deletion."""
        return [each for each in self.dependents.values() if _blocks(each, self.uid)]


def _blocks(dependent: Node, owner: str) -> bool:
    return any(ref["uid"] == owner and ref.get("blockOwnerDeletion") for ref in dependent.owners)


class Graph:
    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def has_solid_owners(self, node: Node) -> bool:
        """Every owner is known to exist and none waits for its dependents: no need for a live look."""
        for reference in node.owners:
            owner = self._nodes.get(str(reference["uid"]))
            if owner is None or owner.virtual or owner.deleting_dependents:
                return False
        return True

    def change(self, resource: Resource, old: Object | None, new: Object | None) -> list[Item]:
        """What an informer told."""
        if new is None:
            return self.remove(old["metadata"]["uid"]) if old is not None else []
        if old is not None and old["metadata"]["uid"] == new["metadata"]["uid"]:
            if _same_relations(old["metadata"], new["metadata"]):
                return []
            return self._put(resource, new)
        gone = self.remove(old["metadata"]["uid"]) if old is not None else []
        return gone + self._put(resource, new)

    def remove(self, uid: str) -> list[Item]:
        """The object is gone: its dependents, and owners that wait for it, need a look."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return []
        items = [Item(each, False) for each in node.dependents]
        for reference in node.owners:
            owner = self._nodes.get(str(reference["uid"]))
            if owner is not None:
                owner.dependents.pop(uid, None)
                self._drop_idle_virtual(owner)
                if owner.deleting_dependents:
                    items.append(Item(owner.uid, False))
        if node.dependents:
            # Dependents keep finding each other through a stand-in until they are looked at.
            self._nodes[uid] = Node(uid, node.api_version, node.kind, node.key, None, (), node.dependents)
        return items

    def _put(self, resource: Resource, obj: Object) -> list[Item]:
        meta = obj["metadata"]
        uid = meta["uid"]
        node = self._nodes.get(uid)
        if node is None:
            node = self._nodes[uid] = Node(uid, obj["apiVersion"], obj["kind"], key_of(obj), resource)
        node.resource = resource
        node.api_version, node.kind, node.key = obj["apiVersion"], obj["kind"], key_of(obj)
        items = self._relate(node, tuple(meta.get("ownerReferences") or ()))
        return items + self._transitions(node, meta)

    def _relate(self, node: Node, owners: tuple[Mapping[str, object], ...]) -> list[Item]:
        before, node.owners = node.owners, owners
        items: list[Item] = []
        now = {str(reference["uid"]): reference for reference in owners}
        for reference in before:
            uid = str(reference["uid"])
            unblocked = uid not in now or (
                reference.get("blockOwnerDeletion") and not now[uid].get("blockOwnerDeletion")
            )
            owner = self._nodes.get(uid)
            if owner is not None and uid not in now:
                owner.dependents.pop(node.uid, None)
                self._drop_idle_virtual(owner)
            if owner is not None and unblocked and owner.deleting_dependents:
                items.append(Item(uid, False))
        for reference in owners:
            items += self._link(node, reference)
        return items

    def _link(self, node: Node, reference: Mapping[str, object]) -> list[Item]:
        uid = str(reference["uid"])
        owner = self._nodes.get(uid)
        if owner is not None:
            owner.dependents[node.uid] = node
            return [Item(node.uid, False)] if owner.virtual else []
        key = Key(node.key.namespace, str(reference["name"]))
        api_version, kind = str(reference["apiVersion"]), str(reference["kind"])
        owner = self._nodes[uid] = Node(uid, api_version, kind, key, None)
        owner.dependents[node.uid] = node
        return [Item(node.uid, False)]

    def _transitions(self, node: Node, meta: Object) -> list[Item]:
        if "deletionTimestamp" not in meta:
            return []
        node.deleting = True
        finalizers: Iterable[str] = meta.get("finalizers") or ()
        items: list[Item] = []
        if ORPHAN in finalizers:
            items.append(Item(node.uid, True))
        if FOREGROUND in finalizers:
            node.deleting_dependents = True
            items += [Item(each, False) for each in node.dependents]
            items.append(Item(node.uid, False))
        return items

    def _drop_idle_virtual(self, owner: Node) -> None:
        if owner.virtual and not owner.dependents:
            self._nodes.pop(owner.uid, None)


def _same_relations(old: Object, new: Object) -> bool:
    return (
        old.get("ownerReferences") == new.get("ownerReferences")
        and old.get("deletionTimestamp") == new.get("deletionTimestamp")
        and old.get("finalizers") == new.get("finalizers")
    )
