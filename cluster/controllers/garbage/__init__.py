"""Garbage collection: objects go when their owners are gone, owners when their dependents are, or neither.

Every resource that can be listed, watched and deleted is followed, custom ones from when they are served.
Events are left out, as in Kubernetes: they expire by themselves.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.controllers.garbage.collector import NAME, Collector
from cluster.controllers.garbage.graph import Graph, Item
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller, Watch
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.served import follow
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]

WORKERS = 20


def controller(world: World) -> Controller[Item]:
    queue: WorkQueue[Item] = WorkQueue(world.clock)
    graph = Graph()
    following = Following(world, graph, queue)
    return Controller(
        Collector(world, graph, queue),
        queue,
        watches=following.watches(),
        workers=WORKERS,
        loops=[("resources", following.run)],
    )


class Following:
    """Which resources the graph is fed from."""

    def __init__(self, world: World, graph: Graph, queue: WorkQueue[Item]) -> None:
        self._world = world
        self._graph = graph
        self._queue = queue
        self._followed: dict[str, Resource] = {}

    def watches(self) -> list[Watch]:
        """The watches for what is served now and not followed yet."""
        new = [each for each in self._collectable() if each.qualified not in self._followed]
        self._followed.update((each.qualified, each) for each in new)
        return [(self._world.informers.of(each), self._handler(each)) for each in new]

    async def run(self) -> None:
        await follow(self._world.registry, self._look)

    def _look(self) -> list[Watch]:
        new = self.watches()
        self._forget_unserved()
        return new

    def _collectable(self) -> list[Resource]:
        registry = self._world.registry
        return [
            each
            for each in registry.all()
            if {"delete", "list", "watch"} <= set(each.verbs)
            and registry.storage_of(each) == each
            and each.qualified != kinds.EVENTS.qualified
        ]

    def _forget_unserved(self) -> None:
        served = {each.qualified for each in self._collectable()}
        for name, resource in tuple(self._followed.items()):
            if name not in served:
                del self._followed[name]
                self._world.informers.forget(resource)

    def _handler(self, resource: Resource) -> Handler:
        def handler(old: Object | None, new: Object | None, cause: str) -> None:
            for item in self._graph.change(resource, old, new):
                self._queue.add(item, cause)

        return handler
