"""What must hold at every moment of a drill: one small object per promise.

Each looks at the changes that the store publishes, or at the machines themselves now and then, and raises
`Broken` the moment its promise is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from agents.emulated.container import EmulatedContainer
from cluster.api.client import EventType
from cluster.api.objects import Key, Object
from cluster.store.entry import Change
from scenarios.drills import fit
from scenarios.drills.ledger import Ledger
from scenarios.expectation import is_ready
from scenarios.simulation import SimulatedCluster


class Promise(Enum):
    """The kinds of failure; what a report and its exit code are about."""

    ACKNOWLEDGED = "an acknowledged write is missing"
    REVISIONS = "revisions do not grow"
    RESTARTS = "a restart count went down"
    TWICE = "one pod runs twice"
    AVAILABLE = "a rollout took too many pods away"
    CONVERGED = "the healed cluster does not converge"
    QUIET = "the converged cluster goes on writing"
    SOUND = "something crashed that no fault had hit"


class Broken(Exception):
    """A promise was broken."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise.value}: {what}")
        self.promise = promise
        self.what = what


class Checker(Protocol):
    def changed(self, changes: Sequence[Change]) -> None:
        """What the store published."""

    def look(self) -> None:
        """Called several times per second of virtual time."""


class Revisions:
    """They grow from change to change, also from one controller manager to the next."""

    def __init__(self) -> None:
        self._last = 0

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.revision <= self._last:
                raise Broken(Promise.REVISIONS, f"{change!r} came after revision {self._last}")
            self._last = change.revision

    def look(self) -> None:
        """Changes tell everything."""


class RestartCounts:
    """They never go down while the pod lives."""

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.entry.qualified != "pods" or change.type is not EventType.MODIFIED:
                continue
            assert change.previous is not None
            before, after = _restarts(change.previous.object), _restarts(change.entry.object)
            for name, count in before.items():
                if after.get(name, 0) < count:
                    what = f"{change.entry.key} {name}: {count} → {after.get(name, 0)} at {change.revision}"
                    raise Broken(Promise.RESTARTS, what)

    def look(self) -> None:
        """Changes tell everything."""


def _restarts(pod: Object) -> dict[str, int]:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return {status["name"]: status["restartCount"] for status in statuses}


class RunsOnce:
    """No pod's container runs on two machines at once, and no name does: a StatefulSet gives names anew."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    def changed(self, changes: Sequence[Change]) -> None:
        """The machines know better."""

    def look(self) -> None:
        where: dict[Key, str] = {}
        for node, agent in self._cluster.agents.items():
            for view in agent.pods():
                if not any(runs(container) for container in view.current.values()):
                    continue
                key = Key(view.namespace, view.name)
                if key in where:
                    raise Broken(Promise.TWICE, f"{key} runs on {where[key]} and on {node}")
                where[key] = node


def runs(container: Any) -> bool:
    assert isinstance(container, EmulatedContainer)
    return container.ended is not None and not container.ended.done()


class Availability:
    """While nothing fails, a rollout leaves at least replicas − maxUnavailable pods ready."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._watched: Key | None = None

    def watch(self, deployment: Key | None) -> None:
        """From now on; None ends it."""
        self._watched = deployment

    def changed(self, changes: Sequence[Change]) -> None:
        key = self._watched
        if key is None or not any(change.entry.qualified == "pods" for change in changes):
            return
        store = self._cluster.plane.store
        entry = store.get("deployments.apps", key)
        if entry is None:
            return
        pods = store.by_label("pods", "app", key.name, key.namespace)
        ready = sum(
            is_ready(pod.object) and "deletionTimestamp" not in pod.object["metadata"] for pod in pods
        )
        least = fit.least_available(entry.object)
        if ready < least:
            raise Broken(Promise.AVAILABLE, f"{key}: {ready} ready pods, at least {least} were promised")

    def look(self) -> None:
        """Changes tell everything."""


class Acknowledged:
    """What a client was told is done stays done, through every crash."""

    def __init__(self, cluster: SimulatedCluster, ledger: Ledger) -> None:
        self._cluster = cluster
        self._ledger = ledger

    def changed(self, changes: Sequence[Change]) -> None:
        """Only what is asked for is compared: a write is acknowledged after its change is published."""

    def look(self) -> None:
        store = self._cluster.plane.store
        for plural, key in self._ledger.entries():
            entry = store.get(_QUALIFIED[plural], key)
            why = self._ledger.contradiction(plural, key, None if entry is None else entry.object)
            if why:
                raise Broken(Promise.ACKNOWLEDGED, why)


_QUALIFIED = {
    "deployments": "deployments.apps",
    "statefulsets": "statefulsets.apps",
    "services": "services",
}


class Quiet:
    """Counts what is written, except what lives by being written: leases, heartbeats, events."""

    RESTLESS = ("leases.coordination.k8s.io", "nodes", "events", "events.events.k8s.io")

    def __init__(self) -> None:
        self._seen: list[Change] = []

    def begin(self) -> None:
        self._seen.clear()

    def changed(self, changes: Sequence[Change]) -> None:
        self._seen += [change for change in changes if change.entry.qualified not in self.RESTLESS]

    def look(self) -> None:
        """Asked at the end only."""

    def check(self) -> None:
        if self._seen:
            examples = ", ".join(f"{change!r} by {change.cause}" for change in self._seen[:5])
            raise Broken(Promise.QUIET, f"{len(self._seen)} writes: {examples}")


class Watchdog:
    """Gives everything to all checkers. A publication is no place to raise in: `look` does."""

    def __init__(self, checkers: Sequence[Checker]) -> None:
        self._checkers = checkers
        self._broken: Broken | None = None

    def changed(self, changes: Sequence[Change]) -> None:
        self._each(lambda checker: checker.changed(changes))

    def look(self) -> None:
        """Raises Broken, for what was found now or before."""
        self._each(lambda checker: checker.look())
        if self._broken is not None:
            raise self._broken

    def _each(self, check: Callable[[Checker], None]) -> None:
        for checker in self._checkers:
            try:
                check(checker)
            except Broken as broken:
                self._broken = self._broken or broken
