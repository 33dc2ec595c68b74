"""What the control plane wants on this node: the objects it sent, and whether their numbers add up.

Pure bookkeeping of `Desired` messages: deltas in order, full states that may come in parts. A gap or a
foreign session is reported, and the agent registers again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from cluster.api.objects import Object
from cluster.api.wire import Desired, object_of

Name = tuple[str, str, str]
"""Kind, namespace, name."""


class Verdict(Enum):
    APPLIED = "applied"
    PARTIAL = "the rest of a full state is still to come"
    KNOWN = "a repetition"
    FOREIGN = "of another session"
    GAP = "messages are missing before it"


@dataclass(slots=True)
class Changes:
    """What an applied message changed."""

    pods: list[Object] = field(default_factory=list)
    """New or changed."""
    gone: list[str] = field(default_factory=list)
    """Uids of pods that are not wanted here any more."""
    others: list[Name] = field(default_factory=list)
    """ConfigMaps and Secrets that came, changed or went."""


class DesiredState:
    def __init__(self) -> None:
        self.session = ""
        self.applied = 0
        self.pods: dict[str, Object] = {}
        self.objects: dict[Name, Object] = {}
        self._parts: list[Object] = []
        self._collecting = False

    def begin(self, session: str) -> None:
        """A new session: its numbers start over, what is known stays until its full state is there."""
        self.session = session
        self.applied = 0
        self._parts, self._collecting = [], False

    def apply(self, message: Desired) -> tuple[Verdict, Changes]:
        changes = Changes()
        if message.session != self.session:
            return Verdict.FOREIGN, changes
        if message.sequence <= self.applied:
            return Verdict.KNOWN, changes
        if message.sequence != self.applied + 1 and not (message.full and message.part == 0):
            return Verdict.GAP, changes
        self.applied = message.sequence
        if message.full:
            if message.part == 0 or not self._collecting:
                self._parts, self._collecting = [], True
            self._parts += _objects(message)
            if message.more:
                return Verdict.PARTIAL, changes
            parts, self._parts, self._collecting = self._parts, [], False
            self._replace(parts, changes)
        else:
            self._delta(message, changes)
        return Verdict.APPLIED, changes

    def _replace(self, objects: list[Object], changes: Changes) -> None:
        pods = {o["metadata"]["uid"]: o for o in objects if o["kind"] == "Pod"}
        others = {_name(o): o for o in objects if o["kind"] != "Pod"}
        changes.gone = [uid for uid in self.pods if uid not in pods]
        changes.pods = [pod for uid, pod in pods.items() if self.pods.get(uid) != pod]
        changes.others = [name for name, o in others.items() if self.objects.get(name) != o]
        changes.others += [name for name in self.objects if name not in others]
        self.pods, self.objects = pods, others

    def _delta(self, message: Desired, changes: Changes) -> None:
        for removed in message.removed:
            if removed.kind == "Pod":
                if self.pods.pop(removed.uid, None) is not None:
                    changes.gone.append(removed.uid)
            else:
                name = (removed.kind, removed.namespace, removed.name)
                if self.objects.pop(name, None) is not None:
                    changes.others.append(name)
        for obj in _objects(message):
            if obj["kind"] == "Pod":
                self.pods[obj["metadata"]["uid"]] = obj
                changes.pods.append(obj)
            else:
                self.objects[_name(obj)] = obj
                changes.others.append(_name(obj))

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))


def _objects(message: Desired) -> list[Object]:
    """Configuration before the pods that need it."""
    return [_slim(obj) for obj in (*map(object_of, message.texts), *message.set)]


def _slim(obj: Object) -> Object:
    """Without what a node never reads and what is as long as the rest."""
    meta = obj["metadata"]
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}


def _name(obj: Object) -> Name:
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace", ""), meta["name"]
