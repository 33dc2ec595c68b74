"""Resources that change while a pod runs: what is allocated, what was asked for, and how far it got.

A part of the pod machine, without I/O. The object's spec is what is wanted; containers are run by what the
node has allocated, which follows the spec once the node has room. Which part is pending and which is under
way is told by two conditions and four events, worded as the kubelet words them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from agents.steps import Emit
from cluster.api.objects import Object, condition_of
from cluster.api.quantity import parse

RETRY_S = 10.0
"""How soon a change that could not be made is tried again."""
Resources = Object


class Pending(NamedTuple):
    reason: str
    """Deferred | Infeasible"""
    message: str
    generation: int | None


class Resizing:
    """Of one pod."""

    __slots__ = ("_in_progress", "allocated", "error", "generation", "pending")

    def __init__(self, pod: Object) -> None:
        self.allocated = {name: resources for name, _, resources in _resizable(pod)}
        self.pending: Pending | None = None
        self._in_progress = False
        self.generation: int | None = None
        """Of the spec that is being put into effect."""
        self.error = ""
        _restore(self.allocated, pod)

    @property
    def in_progress(self) -> bool:
        return self._in_progress

    def differs(self, pod: Object) -> bool:
        """The spec wants something else than is allocated."""
        return any(
            name in self.allocated and not _same(self.allocated[name], resources)
            for name, _, resources in _resizable(pod)
        )

    def allocated_entry(self, entry: Object) -> Object:
        """A container's entry of the spec with what is allocated."""
        resources = self.allocated.get(entry["name"])
        if resources is None or _same(resources, entry.get("resources") or {}):
            return entry
        return {**entry, "resources": resources}

    def allocated_pod(self, pod: Object) -> Object:
        if not self.differs(pod):
            return pod
        spec = dict(pod["spec"])
        for group in ("initContainers", "containers"):
            if group in spec:
                spec[group] = [self.allocated_entry(entry) for entry in spec[group]]
        return {**pod, "spec": spec}

    def refused(self, pod: Object, reason: str, message: str) -> Iterator[Emit]:
        pending = Pending(reason, message, pod["metadata"].get("generation"))
        if pending == self.pending:
            return
        self.pending = pending
        text = _message(pod, f"Pod resize {reason}", pending.generation, message)
        yield Emit(type="Warning", reason=f"Resize{reason}", message=text)

    def granted(self, pod: Object) -> Iterator[Emit]:
        self.pending, self.error = None, ""
        self.allocated = {name: resources for name, _, resources in _resizable(pod)}
        self._in_progress = True
        self.generation = pod["metadata"].get("generation")
        text = _message(pod, "Pod resize started", self.generation)
        yield Emit(type="Normal", reason="ResizeStarted", message=text)

    def failed(self, pod: Object, error: str) -> Iterator[Emit]:
        if error == self.error:
            return
        self.error = error
        text = _message(self.allocated_pod(pod), "Pod resize error", self.generation, error)
        yield Emit(type="Warning", reason="ResizeError", message=text)

    def completed(self, pod: Object) -> Iterator[Emit]:
        """Every container runs by what is allocated."""
        self._in_progress, self.error = False, ""
        text = _message(self.allocated_pod(pod), "Pod resize completed", self.generation)
        yield Emit(type="Normal", reason="ResizeCompleted", message=text)

    def conditions(self) -> Iterator[tuple[str, str, str, int | None]]:
        """Type, reason, message, generation of those that hold."""
        if self.pending is not None:
            yield "PodResizePending", self.pending.reason, self.pending.message, self.pending.generation
        if self._in_progress:
            yield "PodResizeInProgress", "Error" if self.error else "", self.error, self.generation


def must_restart(entry: Object, old: Resources, new: Resources) -> bool:
    """Whether the container's own policy wants a restart for what changes."""
    policies = {p["resourceName"]: p["restartPolicy"] for p in entry.get("resizePolicy") or ()}
    return any(
        policies.get(name) == "RestartContainer"
        and any(_amount(old, kind, name) != _amount(new, kind, name) for kind in ("requests", "limits"))
        for name in ("cpu", "memory")
    )


def same_resources(one: Resources | None, other: Resources | None) -> bool:
    return _same(one or {}, other or {})


def _resizable(pod: Object) -> Iterator[tuple[str, str, Resources]]:
    """Name, group and resources of the containers that can be resized."""
    for entry in pod["spec"].get("initContainers", ()):
        if entry.get("restartPolicy") == "Always":
            yield entry["name"], "initContainers", entry.get("resources") or {}
    for entry in pod["spec"]["containers"]:
        yield entry["name"], "containers", entry.get("resources") or {}


def _restore(allocated: dict[str, Resources], pod: Object) -> None:
    """A pod that ran here before and waited for a resize keeps what it had."""
    if condition_of(pod, "PodResizePending") is None:
        return
    status = pod.get("status", {})
    for entry in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if entry["name"] in allocated and "resources" in entry:
            allocated[entry["name"]] = entry["resources"]


def _same(one: Resources, other: Resources) -> bool:
    if one is other or one == other:
        return True
    return all(_amounts(one, kind) == _amounts(other, kind) for kind in ("requests", "limits"))


def _amounts(resources: Resources, kind: str) -> dict[str, int]:
    return {name: parse(text).nanos for name, text in (resources.get(kind) or {}).items()}


def _amount(resources: Resources, kind: str, name: str) -> int | None:
    return _amounts(resources, kind).get(name)


def _message(pod: Object, start: str, generation: int | None, error: str = "") -> str:
    """As JSON, in the order of the kubelet's own structure."""
    told: Object = {}
    for group in ("initContainers", "containers"):
        entries = [
            {"name": entry["name"], "resources": _sorted(entry.get("resources") or {})}
            for entry in pod["spec"].get(group, ())
        ]
        if entries:
            told[group] = entries
    if generation is not None:
        told["generation"] = generation
    if error:
        told["error"] = error
    return f"{start}: {json.dumps(told, separators=(',', ':'))}"


def _sorted(resources: Resources) -> Resources:
    return {
        kind: {name: str(parse(resources[kind][name])) for name in sorted(resources[kind])}
        for kind in ("limits", "requests")
        if resources.get(kind)
    }
