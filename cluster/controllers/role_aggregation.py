"""ClusterRoles with an aggregationRule: their rules are those of the ClusterRoles that they select."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.api import kinds
from cluster.api.objects import Key, Object, key_of
from cluster.api.selectors import of_object_form
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.loop import Controller
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "clusterrole-aggregation-controller"


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock)
    roles = world.informers.of(kinds.CLUSTER_ROLES)
    return Controller(Aggregation(world), queue, watches=[(roles, _enqueue_aggregated(queue, roles))])


def _enqueue_aggregated(queue: WorkQueue[Key], roles: Informer) -> Handler:
    """Any role may be part of any aggregated one."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for role in roles.list():
            if role.get("aggregationRule"):
                queue.add(key_of(role), cause)

    return handler


def aggregated(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules of the selected roles in order of selector and name, each once."""
    ordered = sorted(roles, key=lambda each: str(each["metadata"]["name"]))
    rules: list[Object] = []
    for form in role["aggregationRule"].get("clusterRoleSelectors") or ():
        selector = of_object_form(form)
        for each in ordered:
            if each["metadata"]["name"] != role["metadata"]["name"] and selector.matches_object(each):
                rules.extend(rule for rule in each.get("rules") or () if rule not in rules)
    return rules


class Aggregation:
    name = NAME

    def __init__(self, world: World) -> None:
        self._client = world.client_as(NAME)
        self._roles = world.informers.of(kinds.CLUSTER_ROLES)

    async def reconcile(self, key: Key) -> float | None:
        role = self._roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = aggregated(role, self._roles.list())
        if rules != (role.get("rules") or []):
            await self._client.update(kinds.CLUSTER_ROLES, role | {"rules": rules})
        return None
