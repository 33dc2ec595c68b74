"""What keeps one object of a fixed name in every namespace watches: namespaces, and that object."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api import kinds
from cluster.api.objects import Key, Object
from cluster.reconcile.informer import Informer
from cluster.reconcile.informers import Informers
from cluster.reconcile.loop import Watch, enqueue
from cluster.reconcile.queue import WorkQueue


def watch_namespaces(
    queue: WorkQueue[Key], informers: Informers, objects: Informer, name: str
) -> Sequence[Watch]:
    """Adds the namespace's key when it or its object called `name` changes."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        meta = (new or old or {})["metadata"]
        if meta["name"] == name and old is not None:
            queue.add(Key("", meta["namespace"]), cause)

    return [(informers.of(kinds.NAMESPACES), enqueue(queue)), (objects, handler)]
