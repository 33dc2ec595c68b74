"""Deployment: rolls from one ReplicaSet to the next, keeping enough pods available and not too many.

`sizes`, `revisions` and `status` decide, without I/O; `reconciler` carries out.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.objects import Key, Object, controller_of
from cluster.controllers.deployment.reconciler import NAME, Deployments
from cluster.controllers.deployment.sizes import is_rolling
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.owners import enqueue_owner, index_by_controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

__all__ = ["NAME", "controller"]


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    deployments = world.informers.of(kinds.DEPLOYMENTS)
    sets = world.informers.of(kinds.REPLICA_SETS)
    pods = world.informers.of(kinds.PODS)
    index_by_controller(pods)
    return Controller(
        Deployments(world),
        queue,
        watches=[
            (deployments, enqueue(queue)),
            (sets, enqueue_owner(queue, deployments)),
            (pods, _enqueue_recreated(queue, deployments, sets)),
        ],
    )


def _enqueue_recreated(queue: WorkQueue[Key], deployments: Informer, sets: Informer) -> Handler:
    """A pod of a Recreate Deployment went away: perhaps the last of the old ones."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if new is not None or old is None:
            return
        namespace = old["metadata"]["namespace"]
        of_set = controller_of(old)
        replica_set = sets.get(Key(namespace, of_set["name"])) if of_set is not None else None
        of_deployment = controller_of(replica_set) if replica_set is not None else None
        if of_deployment is None:
            return
        key = Key(namespace, of_deployment["name"])
        deployment = deployments.get(key)
        if deployment is not None and not is_rolling(deployment):
            queue.add(key, cause)

    return handler
